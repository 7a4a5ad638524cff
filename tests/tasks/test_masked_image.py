"""Masked image modelling: what is hidden, what is guessed, and that a ViT goes on from it (He et al. 2022)."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from patchword.data.image_processor import ImageProcessor
from patchword.errors import UserError
from patchword.models.family import Model, families
from patchword.models.folder import read_model
from patchword.models.masked_image import cut, normalised
from patchword.tasks.masked_image import MaskedImage, MaskedPictures
from patchword.tasks.predictor import load
from patchword.tasks.task import Compute
from patchword.training.loop import Interrupted
from patchword.training.stages import finetune, pretrain, resume

KEY = (3, 1)
SIDE, PATCH = 16, 4
PATCHES = (SIDE // PATCH) ** 2
SMALL = {"width": 32, "depth": 2, "heads": 2, "hidden": 48, "image_size": (SIDE, SIDE), "patch_size": PATCH}
DECODER = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2, "decoder_hidden": 24}


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def examples() -> MaskedPictures:
    pictures = [picture(seed) for seed in range(12)]
    return MaskedPictures(pictures, [str(i) for i in range(12)], ImageProcessor(size=(SIDE, SIDE)), 1 + PATCHES)


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    family = families()["vit_mae"]
    return Model(family, family.config(**SMALL, **DECODER, normalised_pixels=True), "masked_image").eval()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(12):
            (tmp_path / "photos" / label / f"{i}.png").write_bytes(picture(i))
    return tmp_path / "photos"


def test_three_quarters_are_hidden_and_each_patch_is_either_seen_or_hidden(examples: MaskedPictures) -> None:
    batch = examples.batch(np.arange(12), KEY)
    seen = batch.inputs[1]
    assert seen.shape == (12, PATCHES // 4)
    hidden = batch.targets.view(12, -1)
    assert torch.equal(torch.cat([seen, hidden], 1).sort(1).values, torch.arange(PATCHES).expand(12, -1))
    assert batch.labels == 12 * 3 * PATCHES // 4
    assert (batch.at.diff() > 0).all()
    assert torch.equal(batch.at % (1 + PATCHES) - 1, batch.targets)


def test_what_is_hidden_depends_on_seed_epoch_and_picture_alone(examples: MaskedPictures) -> None:
    alone, together = examples.batch(np.array([5]), KEY), examples.batch(np.array([2, 5, 7]), KEY)
    assert torch.equal(alone.inputs[1][0], together.inputs[1][1])
    for other in ((3, 2), (4, 1)):
        assert not torch.equal(together.inputs[1], examples.batch(np.array([2, 5, 7]), other).inputs[1])
    chosen = torch.cat([examples.batch(np.arange(12), (0, epoch)).inputs[1].flatten() for epoch in range(200)])
    share = torch.bincount(chosen, minlength=PATCHES) / (12 * 200)
    assert (share - 0.25).abs().max() < 0.06


def test_hidden_patches_do_not_reach_the_guesses(examples: MaskedPictures, model: Model) -> None:
    pixels, seen = examples.batch(np.arange(12), KEY).inputs
    patches = torch.ones(12, PATCHES).scatter(1, seen, 0.0).view(12, 1, SIDE // PATCH, SIDE // PATCH)
    over = patches.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3)
    with torch.no_grad():
        assert torch.equal(model(pixels, seen), model(pixels + over * torch.randn_like(pixels), seen))


def test_the_loss_of_micro_batches_is_that_of_the_batch(examples: MaskedPictures, model: Model) -> None:
    task, batch = MaskedImage(), examples.batch(np.arange(12), KEY)
    with torch.no_grad():
        whole = task.loss(model, batch)
        parts = [task.loss(model, part) for part in batch.split(3 * (1 + PATCHES))]
    assert len(parts) == 4
    assert sum(parts) == pytest.approx(float(whole), rel=1e-5)


def test_a_patch_is_its_pixels_channels_last_and_normalised_by_itself() -> None:
    pixels = torch.randn(2, 3, 8, 12)
    patches = cut(pixels, 4)
    assert patches.shape == (2, 6, 48)
    assert torch.equal(patches[1, 4].view(4, 4, 3), pixels[1, :, 4:8, 4:8].permute(1, 2, 0))
    assert normalised(patches).mean(-1).abs().max() < 1e-6
    assert (normalised(patches).var(-1) - 1).abs().max() < 1e-4


def test_the_floor_is_measured_on_the_same_patches(examples: MaskedPictures, model: Model) -> None:
    metrics = MaskedImage().evaluate(model, examples, Compute())
    numbers = PATCH * PATCH * 3
    assert metrics["mean_loss"] == pytest.approx((numbers - 1) / numbers, rel=1e-4)  # of noise, no patch is flat
    assert metrics["hidden_patches"] == 12 * 3 * PATCHES // 4


def test_a_picture_of_one_patch_is_refused() -> None:
    with pytest.raises(UserError, match="1 patches can not be hidden to 75%"):
        MaskedPictures([picture(0)], ["a"], ImageProcessor(size=(4, 4)), 2)


def test_pretraining_goes_on_as_a_vit(photos: Path, tmp_path: Path) -> None:
    settings = {"image_size": SIDE, "patch_size": PATCH, "precision": "fp32", "device": "cpu", "quiet": True}
    first = pretrain(
        photos, model="vit-mae-tiny", task="masked-image", out=tmp_path / "mae", steps=2, batch_size=8, **settings
    )
    assert first.report["validation"].keys() == {"loss", "mean_loss", "hidden_patches"}
    assert load(tmp_path / "mae").evaluate(photos)["loss"] > 0
    assert load(tmp_path / "mae").features([picture(0)]).shape == (1, 192)
    with pytest.raises(UserError, match="finetune"):
        load(tmp_path / "mae").predict([picture(0)])

    taken = read_model(tmp_path / "mae", way_out="class", labels=("a", "b"))
    assert taken.model.family.model_type == "vit"
    assert set(taken.new) == {"head.scores.weight", "head.scores.bias"}
    assert all(name.startswith("decoder.") for name in taken.unused)
    pixels = torch.randn(2, 3, SIDE, SIDE)
    with torch.no_grad():
        before = read_model(tmp_path / "mae").model.eval().features(pixels).values
        after = taken.model.eval().features(pixels).values
    assert (before - after).abs().max() <= 1e-5

    finetune(
        tmp_path / "mae", photos, out=tmp_path / "vit", steps=1, precision="fp32", device="cpu", seeds=1, quiet=True
    )
    assert load(tmp_path / "vit").predict([picture(0)])[0]["label"] in ("a", "b")
    names = load_file(tmp_path / "vit" / "model.safetensors").keys()
    assert "vit.embeddings.position_embeddings" in names
    assert not any(name.startswith("decoder.") for name in names)


def test_pictures_without_labels_are_what_it_is_pretrained_on_by_default(photos: Path, tmp_path: Path) -> None:
    how = {
        "model": "vit-mae-tiny",
        "patch_size": PATCH,
        "steps": 1,
        "device": "cpu",
        "precision": "fp32",
        "quiet": True,
    }
    flat = photos / "a"
    table = pd.DataFrame({"image": [path.read_bytes() for path in sorted(flat.iterdir())]})
    table.to_parquet(tmp_path / "bare.parquet")
    for data, out in ((flat, "flat"), (tmp_path / "bare.parquet", "bare")):
        result = pretrain(data, out=tmp_path / out, micro_tokens=40, image_size=SIDE, **how)
        card = json.loads((tmp_path / out / "patchword.json").read_text())
        assert card["task"] == "masked_image"
        assert card["data"]["rows"] + card["data"]["validation_rows"] == 12
        assert result.report["validation"]["loss"] > 0
    with pytest.raises(UserError, match=r"vit_mae models can not learn image-classification\. .*: masked-image\."):
        pretrain(photos, task="image-classification", out=tmp_path / "x", **how)
    with pytest.raises(UserError, match=r"resnet models can not learn masked-image\. .*: image-classification\."):
        pretrain(photos, task="masked-image", out=tmp_path / "x", **{**how, "model": "resnet-18"})
    with pytest.raises(UserError, match="with 1 pictures there is none to hold back"):
        pretrain(flat / "1.png", image_size=SIDE, out=tmp_path / "y", **how)


def test_an_interrupted_run_goes_on_exactly(photos: Path, tmp_path: Path) -> None:
    settings = {
        "model": "vit-mae-tiny",
        "task": "masked-image",
        "image_size": SIDE,
        "patch_size": PATCH,
        "steps": 4,
        "batch_size": 8,
        "precision": "fp32",
        "device": "cpu",
        "quiet": True,
    }
    pretrain(photos, out=tmp_path / "whole", **settings)
    with pytest.raises(Interrupted):
        pretrain(photos, out=tmp_path / "cut", stop_after=2, **settings)
    resume(tmp_path / "cut", quiet=True)
    whole, again = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut"))
    assert whole == again
