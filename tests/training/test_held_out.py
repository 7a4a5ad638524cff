"""`--validation` of runs on unlabelled data: the loss is that of the file, whatever the objective."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from patchword.errors import UserError
from patchword.tasks.predictor import load
from patchword.training.loop import Interrupted
from patchword.training.stages import pretrain, resume
from patchword.training.tracking import read_metrics

SETTINGS: dict[str, Any] = {
    "lines": True,
    "max_length": 16,
    "steps": 2,
    "evaluations": 2,
    "batch_size": 32,
    "precision": "fp32",
    "device": "cpu",
    "quiet": True,
}
KINDS = {"bert-tiny": 400, "gpt2-tiny": 400, "t5-tiny": 700, "bart-tiny": 400}


@pytest.fixture(scope="module")
def held_out(corpus: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 lines of the corpus' words, each from its last to its first."""
    path = tmp_path_factory.mktemp("held-out") / "held_out.txt"
    path.write_text(
        "".join(" ".join(reversed(line.split())) + "\n" for line in corpus[:150] if len(line) > 60), "utf-8"
    )
    return path


def card(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "patchword.json").read_text())
    return found


@pytest.mark.parametrize("model", KINDS)
def test_the_loss_is_that_of_the_file(model: str, corpus_file: Path, held_out: Path, tmp_path: Path) -> None:
    run = pretrain(
        corpus_file, model=model, vocab_size=KINDS[model], validation=held_out, out=tmp_path / "run", **SETTINGS
    )
    evaluated = load(run.folder).evaluate(held_out, lines=True)
    assert run.report["validation"]["loss"] == pytest.approx(evaluated["loss"], rel=1e-6)
    assert run.report["validation"]["hidden_tokens"] == evaluated["hidden_tokens"]
    measured = [line["loss"] for line in read_metrics(run.folder) if line["kind"] == "validation"]
    assert min(measured) == pytest.approx(evaluated["loss"], rel=1e-6)
    data = card(run.folder)["data"]
    assert data["validation_sequences"] >= 60
    assert data["validation_overlap"] == 0


def test_nothing_is_held_back_of_the_data(corpus_file: Path, held_out: Path, tmp_path: Path, capfd: Any) -> None:
    counts = []
    for name, more in {"part": {}, "file": {"validation": str(held_out)}}.items():
        settings = SETTINGS | {"quiet": False, "vocab_size": 400, "model": "bert-tiny", **more}
        pretrain(corpus_file, out=tmp_path / name, **settings)
        output = "".join(capfd.readouterr())
        counts.append(int(output.split(" examples;")[0].split()[-1].replace(",", "")))
        assert ("held back" in output) == (name == "part")
    assert counts[0] < counts[1]


def test_validation_text_that_is_in_the_training_text_is_reported(
    corpus: list[str], corpus_file: Path, held_out: Path, tmp_path: Path, capfd: Any
) -> None:
    both = tmp_path / "both.txt"
    both.write_text(held_out.read_text() + "\n".join(corpus[100:120]) + "\n")
    settings = SETTINGS | {"quiet": False, "vocab_size": 400, "model": "bert-tiny"}
    run = pretrain(corpus_file, validation=both, out=tmp_path / "run", **settings)
    data = card(run.folder)["data"]
    assert data["validation_overlap"] >= 20
    assert f"{data['validation_overlap']} of the {data['validation_sequences']} validation sequences" in " ".join(
        "".join(capfd.readouterr()).split()
    )


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_file_that_is_not_there_is_refused_before_anything_is_written(
    part: str, corpus_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"missing\.txt does not exist" if part == "validation" else "test"):
        pretrain(corpus_file, model="bert-tiny", out=tmp_path / "run", **SETTINGS, **{part: tmp_path / "missing.txt"})
    assert not (tmp_path / "run").exists()


def test_a_validation_file_that_changed_stops_a_resume(corpus_file: Path, held_out: Path, tmp_path: Path) -> None:
    own = Path(shutil.copy(held_out, tmp_path / "own.txt"))
    settings = SETTINGS | {"vocab_size": 400, "steps": 4, "checkpoint_steps": 1, "stop_after": 2}
    with pytest.raises(Interrupted):
        pretrain(corpus_file, model="bert-tiny", validation=own, out=tmp_path / "run", **settings)
    own.write_text(own.read_text() + "One line more.\n")
    with pytest.raises(UserError, match="changed"):
        resume(tmp_path / "run", quiet=True)
    shutil.copy(held_out, own)
    resume(tmp_path / "run", quiet=True)


def test_images_that_are_in_the_training_data_are_reported(tmp_path: Path, capfd: Any) -> None:
    random = np.random.default_rng(99)
    for number in range(12):
        for folder in ("train", "apart") if number < 3 else ("train",):
            (tmp_path / folder).mkdir(exist_ok=True)
            image = Image.fromarray(np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8))
            image.save(tmp_path / folder / f"{number}.png")
    Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / "apart" / "new.png")
    settings = {"steps": 1, "quiet": False, "precision": "fp32", "device": "cpu", "image_size": 32, "patch_size": 8}
    run = pretrain(
        tmp_path / "train", model="vit-mae-tiny", validation=tmp_path / "apart", out=tmp_path / "run", **settings
    )
    assert card(run.folder)["data"]["validation_rows"] == 4
    assert "in the training data: 3 of 4" in " ".join("".join(capfd.readouterr()).split())
