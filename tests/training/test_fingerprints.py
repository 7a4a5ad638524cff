"""A run is resumed only with the inputs that it began with: whatever its result depends on is compared."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

import patchword as pw
from patchword.errors import Notice, UserError
from patchword.training.loop import Interrupted

FEW: dict[str, Any] = {"seeds": 2, "steps": 2, "quiet": True, "precision": "fp32", "device": "cpu"}


def draw(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (16, 16, 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped in its second seed, and all that it reads: a table of images, a base that has a base."""
    folder = tmp_path_factory.mktemp("begun")
    for part, count in (("train", 12), ("valid", 4), ("test", 4)):
        for i in range(count):
            draw(folder / part / f"{i}.png", 100 * len(part) + i)
        rows = "".join(f"{part}/{i}.png,{'ab'[i % 2]}\n" for i in range(count))
        (folder / f"{part}.csv").write_text("image,label\n" + rows)
    images = {"image_size": 16, "patch_size": 8}
    pw.pretrain(folder / "train.csv", model="vit-mae-tiny", steps=1, out=folder / "first", quiet=True, **images)
    pw.pretrain(folder / "train.csv", start=folder / "first", steps=1, out=folder / "base", quiet=True)
    real = {"validation": folder / "valid.csv", "test": folder / "test.csv"}
    with pytest.raises(Interrupted):
        pw.finetune(folder / "base", folder / "train.csv", out=folder / "run", stop_after=1, **FEW, **real)
    return folder


def other_weights(path: Path) -> None:
    tensors = load_file(path)
    save_file({name: tensor + 0.01 for name, tensor in tensors.items()}, path, metadata={"format": "pt"})


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "the start": (lambda at: other_weights(at / "base" / "model.safetensors"), "base checkpoint"),
    "its config": (lambda at: (at / "base" / "config.json").open("a").close(), ""),
    "its reader": (
        lambda at: (
            (at / "base" / "preprocessor_config.json").write_text(
                (at / "base" / "preprocessor_config.json").read_text().replace("0.5", "0.4")
            )
            and None
        ),
        "base checkpoint",
    ),
    "the start's start": (lambda at: other_weights(at / "first" / "model.safetensors"), "was pretrained from"),
    "an image": (lambda at: draw(at / "train" / "3.png", 999), "the data"),
    "a validation image": (lambda at: draw(at / "valid" / "3.png", 999), "the validation data"),
    "a test image": (lambda at: draw(at / "test" / "3.png", 999), "the test data"),
    "a test row": (
        lambda at: (at / "test.csv").write_text((at / "test.csv").read_text().replace("png,a", "png,b", 1)) and None,
        "the test data",
    ),
    "the run's reader": (
        lambda at: (
            (at / "run" / "preprocessor_config.json").write_text(
                (at / "run" / "preprocessor_config.json").read_text() + " "
            )
            and None
        ),
        "processor in the run",
    ),
}


@pytest.mark.parametrize("what", list(CHANGES))
def test_a_changed_input_is_named(what: str, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change, named = CHANGES[what]
    kept = tmp_path / "kept"
    shutil.copytree(begun, kept)
    try:
        change(begun)
        if named:
            with pytest.raises(UserError, match=rf"can not be resumed exactly.*{named}.*Restore"):
                pw.resume(begun / "run", quiet=True)
        else:  # as it was, only written again
            with pytest.raises(Interrupted):
                pw.resume(begun / "run", quiet=True, stop_after=1)
    finally:
        shutil.rmtree(begun)
        shutil.copytree(kept, begun)


def test_a_base_that_changes_between_two_seeds_stops_the_run(begun: Path, tmp_path: Path) -> None:
    shutil.copytree(begun / "base", tmp_path / "base")
    seen = []

    def replace(number: int, metrics: object, score: float) -> None:
        if not seen:
            other_weights(tmp_path / "base" / "model.safetensors")
        seen.append(number)

    with pytest.raises(UserError, match="base checkpoint"):
        pw.finetune(tmp_path / "base", begun / "train.csv", out=tmp_path / "run", watch=replace, **FEW)
    assert (tmp_path / "run" / "seeds" / "0" / "result.json").is_file()


def test_a_run_of_an_earlier_version_is_resumed_with_a_notice(begun: Path, tmp_path: Path) -> None:
    shutil.copytree(begun / "run", tmp_path / "run")
    card = json.loads((tmp_path / "run" / "patchword.json").read_text())
    del card["fingerprints"], card["data"]["test_fingerprint"]
    (tmp_path / "run" / "patchword.json").write_text(json.dumps(card))
    with pytest.warns(Notice, match="kept no fingerprints"):
        pw.resume(tmp_path / "run", quiet=True)
