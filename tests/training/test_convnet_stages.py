"""A model that is no Transformer goes through both stages as the others do."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchword.errors import UserError
from patchword.tasks.predictor import load
from patchword.training.loop import Interrupted
from patchword.training.stages import finetune, pretrain, resume


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Dark ones and light ones, 13 of each: one of each is held back, and the last batch of a pass is one picture."""
    for label, level in (("dark", 60), ("light", 200)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(13):
            noise = np.random.default_rng(i).integers(-30, 30, (20, 20, 3))
            Image.fromarray((level + noise).astype(np.uint8)).save(tmp_path / "photos" / label / f"{i}.png")
    return tmp_path / "photos"


def test_both_stages_predict_and_evaluate(photos: Path, tmp_path: Path) -> None:
    how = {"batch_size": 23, "seeds": 1, "precision": "fp32", "device": "cpu", "quiet": True}
    pretrain(photos, model="resnet-18", image_size=32, epochs=3, out=tmp_path / "one", **how)
    result = finetune(tmp_path / "one", photos, epochs=2, out=tmp_path / "two", **how)
    assert result.model.config.image_size == (32, 32)
    predictor = load(tmp_path / "two")
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), "white").save(buffer, "PNG")
    assert predictor.predict([buffer.getvalue()])[0]["label"] in ("dark", "light")
    assert predictor.features([buffer.getvalue()]).shape == (1, 512)
    assert predictor.evaluate(photos)["rows"] == 26


def test_an_interrupted_run_goes_on_exactly_with_the_statistics_of_its_norms(photos: Path, tmp_path: Path) -> None:
    how = {"model": "resnet-18", "image_size": 32, "steps": 4, "batch_size": 8, "precision": "fp32", "quiet": True}
    pretrain(photos, out=tmp_path / "whole", device="cpu", **how)
    with pytest.raises(Interrupted):
        pretrain(photos, out=tmp_path / "cut", device="cpu", stop_after=2, **how)
    resume(tmp_path / "cut", quiet=True)
    whole, again = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == again


def test_patches_are_refused_where_there_are_none(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="patch_size: only for models that cut patches"):
        pretrain(photos, model="resnet-18", patch_size=8, image_size=32, steps=1, out=tmp_path / "one", quiet=True)
