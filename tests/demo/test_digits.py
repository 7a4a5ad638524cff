"""The demo's pictures are scikit-learn's, all of them, and no test picture is among the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from patchword.data.sources import read_labelled
from patchword.demo.digits import write_digits


def test_digits_are_written_whole_and_apart(tmp_path: Path):
    data = write_digits(tmp_path)
    parts = {name: read_labelled(getattr(data, name)) for name in ("pretrain", "train", "test")}
    assert sum(map(len, parts.values())) == 1797
    assert {name: sorted(set(part.labels or ())) for name, part in parts.items()} == {
        "pretrain": list("01234"), "train": list("56789"), "test": list("56789"),
    }  # fmt: skip
    assert min(np.unique(parts["test"].labels or (), return_counts=True)[1]) > 60
    digits = load_digits()
    seen: dict[str, set[bytes]] = {}
    for name, part in parts.items():
        for path, label in zip(part.inputs, part.labels or (), strict=True):
            number = int(Path(str(path)).stem)
            pixels = np.asarray(Image.open(str(path)))
            assert digits.target[number] == int(label)
            np.testing.assert_allclose(pixels / 255 * 16, digits.images[number], atol=0.04)
            seen.setdefault(name, set()).add(pixels.tobytes())
    assert not seen["train"] & seen["test"]
