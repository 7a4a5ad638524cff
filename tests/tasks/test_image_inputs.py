"""Images in Python as a person has them: each gives what the file gives."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import patchword as pw
from patchword.data.atomic import write_json
from patchword.data.image_processor import ImageProcessor
from patchword.errors import UserError
from patchword.models.family import Model, families
from patchword.models.folder import make_config, write_model
from patchword.training.run import RunFolder

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
GREY = PIXELS[..., 0]


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny image model with random weights."""
    place = tmp_path_factory.mktemp("start")
    family = families()["vit"]
    sizes = {"depth": 1, "width": 32, "heads": 2, "hidden": 64, "image_size": (16, 16), "patch_size": 8}
    torch.manual_seed(0)
    write_model(Model(family, make_config(family.config, sizes, "test"), "class", ("a", "b")), place)
    write_json(place / "preprocessor_config.json", ImageProcessor(size=(16, 16)).to_dict())
    return place


COLOURS: dict[str, Callable[[], Any]] = {
    "PIL": lambda: Image.fromarray(PIXELS),
    "PIL with alpha": lambda: Image.fromarray(PIXELS).convert("RGBA"),
    "uint8 array": lambda: PIXELS,
    "array with alpha": lambda: np.concatenate([PIXELS, np.full((16, 16, 1), 255, np.uint8)], 2),
    "uint16 array": lambda: PIXELS.astype(np.uint16) * 257,
    "int64 array": lambda: PIXELS.astype(np.int64),
    "float array": lambda: PIXELS / 255,
    "uint8 tensor": lambda: torch.from_numpy(PIXELS).permute(2, 0, 1),
    "float tensor": lambda: torch.from_numpy(PIXELS).permute(2, 0, 1) / 255,
    "bytes": lambda: png(PIXELS),
    "bytearray": lambda: bytearray(png(PIXELS)),
    "open file": lambda: io.BytesIO(png(PIXELS)),
}
GREYS: dict[str, Callable[[], Any]] = {
    "PIL": lambda: Image.fromarray(GREY),
    "array": lambda: GREY,
    "array with a channel": lambda: GREY[..., None],
    "uint16 array": lambda: GREY.astype(np.uint16) * 257,
    "tensor": lambda: torch.from_numpy(GREY),
    "tensor with a channel": lambda: torch.from_numpy(GREY)[None] / 255,
}


@pytest.mark.parametrize(
    ("given", "pixels"),
    [(make, PIXELS) for make in COLOURS.values()] + [(make, GREY) for make in GREYS.values()],
    ids=[*COLOURS, *(f"grey: {name}" for name in GREYS)],
)
def test_each_is_what_the_file_is(given: Callable[[], Any], pixels: np.ndarray, folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels))
    model = pw.load(folder, "cpu")
    assert model.predict([given(), path]) == model.predict([str(path), path])
    assert np.array_equal(model.features([given()]), model.features([path]))


def test_a_block_of_images(folder: Path) -> None:
    model = pw.load(folder, "cpu")
    assert model.predict(np.stack([PIXELS, 255 - PIXELS])) == model.predict([PIXELS, 255 - PIXELS])
    assert model.predict([]) == []


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (3, "int is not an image"),
        (None, "NoneType is not an image"),
        (PIXELS.astype(np.float32), "array .16, 16, 3. of float32 with values from"),
        (PIXELS / 255 * 2 - 1, "with values from -"),
        (np.full((16, 16, 3), np.nan), "is not an image"),
        (PIXELS.transpose(2, 0, 1), r"array .3, 16, 16. of uint8"),
        (torch.from_numpy(PIXELS), r"tensor .16, 16, 3. of uint8"),
        (np.zeros((0, 4), np.uint8), "is not an image"),
        (np.array("a.png"), "is not an image"),
        (io.StringIO("text"), "open as text"),
    ],
)
def test_anything_else_is_one_message(item: Any, said: str, folder: Path) -> None:
    with pytest.raises(UserError, match=f"the image: .*{said}.*An image is the path or the bytes"):
        pw.load(folder, "cpu").predict([item])


@pytest.mark.parametrize("one", [PIXELS, torch.from_numpy(PIXELS), Image.fromarray(PIXELS), Path("a"), "a.png", b"x"])
def test_one_without_a_list_is_told(one: Any, folder: Path) -> None:
    model = pw.load(folder, "cpu")
    for call in (model.predict, model.features):
        with pytest.raises(UserError, match="Give a list"):
            call(one)


@pytest.mark.parametrize("side", [0, -3, 20, 100_000])
def test_a_size_that_can_not_be_is_refused_before_anything_is_allocated(
    side: int, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    Image.fromarray(PIXELS).save(tmp_path / "data" / "a.png")
    with pytest.raises(UserError, match="image"):
        pw.load(folder, "cpu", image_size=side)
    for name in ("vit-tiny-16", "vit-mae-tiny", "resnet-18", "bit-50") if side != 20 else ():
        task = None if "mae" in name else "image-classification"
        with pytest.raises(UserError, match="image"):
            pw.pretrain(
                tmp_path / "data", model=name, task=task, image_size=side, steps=1, out=tmp_path / name, quiet=True
            )


def test_names_that_are_not_utf8_from_training_to_the_last_table(folder: Path, tmp_path: Path) -> None:
    """In the data's own folder, a class, files and the model's folder, as the commands see them."""
    name = os.fsdecode(b"ch\xe9vre")
    data, out = tmp_path / name / "data", tmp_path / "run"
    random = np.random.default_rng(0)
    for number, kind in enumerate((name, "loup")):
        (data / kind).mkdir(parents=True)
        for i in range(12):
            pixels = random.integers(0, 100, (16, 16, 3)).astype(np.uint8) + np.uint8(100 * number)
            Image.fromarray(pixels).save(data / kind / f"{name}{i}.png")
    pw.finetune(folder, data, out=out, steps=2, seeds=1, quiet=True)
    assert RunFolder(out).read_config().data == (str(data),)
    model = pw.load(out, "cpu")
    assert model.labels == ("ch\\xe9vre", "loup")
    for ending in (".csv", ".tsv", ".jsonl", ".parquet"):
        table = tmp_path / f"p{ending}"
        model.predict_file(data, table)
        if ending == ".parquet":
            images = pq.read_table(table).column("image").to_pylist()
        else:
            images = table.read_bytes().decode().splitlines()
        assert sum("ch\\xe9vre11.png" in image.replace("\\\\", "\\") for image in images) == 2
    command = [sys.executable, "-m", "patchword", "predict", *map(os.fsencode, (out, data))]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert len(done.stdout.decode().splitlines()) == 25
    assert pw.check(data).numbers["data"]["labels"] == {"ch\\xe9vre": 12, "loup": 12}
    assert model.evaluate(data)["accuracy"] >= 0
    with pytest.raises(UserError, match="not UTF-8"):
        pw.finetune(folder, data, out=tmp_path / name / "run", steps=2, seeds=1, quiet=True)
