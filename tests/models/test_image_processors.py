"""Pixels of each kind of `preprocessor_config.json`, against transformers' own processors (those that use PIL)."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from patchword.data.image_processor import PLAIN, ImageProcessor
from patchword.errors import UserError
from patchword.models.family import families
from patchword.models.folder import describe
from patchword.models.image_processors import NAME, UNSAID, read_image_processor
from patchword.tasks.predictor import load
from patchword.training.stages import finetune

transformers = pytest.importorskip("transformers")

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "ViT": [
        {},
        {"size": {"height": 24, "width": 40}, "resample": 3, "image_mean": [0.485, 0.456, 0.406]},
        {"size": {"height": 16, "width": 16}, "resample": 0, "image_std": [0.229, 0.224, 0.225]},
        {"size": {"height": 16, "width": 16}, "do_normalize": False},
        {"size": {"height": 16, "width": 16}, "do_rescale": False},
        {"size": {"height": 16, "width": 16}, "rescale_factor": 0.00784},
        {"size": {"shortest_edge": 40}, "do_center_crop": True, "crop_size": 31},
    ],
    "DeiT": [
        {},
        {"size": 40, "crop_size": 32},
        {"size": {"height": 40, "width": 30}, "crop_size": {"height": 31, "width": 28}},
        {"do_center_crop": False},
        {"do_resize": False, "crop_size": {"height": 34, "width": 51}},
    ],
    "Bit": [
        {},
        {"size": {"shortest_edge": 256}, "image_mean": [0.485, 0.456, 0.406]},
        {"size": 40, "crop_size": 33, "resample": 2},
        {"size": {"shortest_edge": 30}, "crop_size": {"height": 47, "width": 33}},
        {"size": {"height": 448, "width": 448}, "do_center_crop": False},
    ],
    "ConvNext": [
        {},
        {"size": {"shortest_edge": 224}, "crop_pct": 0.875},
        {"size": 224, "crop_pct": 0.95, "resample": 2},
        {"size": {"shortest_edge": 30}, "crop_pct": 0.9},
        {"size": {"shortest_edge": 384}, "crop_pct": 1.0},
    ],
}
CASES = [(kind, options) for kind, several in OPTIONS.items() for options in several]


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    """Noise over a slope, so that a shift is seen as well as another filter."""
    noise = np.random.default_rng(seed).integers(0, 128, (height, width, 3))
    slope = np.linspace(0, 127, height)[:, None, None] * np.linspace(0.2, 1, width)[:, None]
    return Image.fromarray((noise + slope).astype(np.uint8))


def read(folder: Path, config: dict[str, Any], kind: str = "vit") -> ImageProcessor:
    (folder / NAME).write_text(json.dumps(config))
    family = families()[kind]
    return read_image_processor(folder, family, next(iter(family.presets.values())))


PICTURES = [picture(33, 47), picture(47, 33), picture(7, 91), picture(301, 224), picture(600, 453)]


@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
def test_same_pixels_as_transformers_and_back(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    theirs = getattr(transformers, f"{kind}ImageProcessorPil")(**options)
    theirs.save_pretrained(tmp_path)
    ours = read(tmp_path, json.loads((tmp_path / NAME).read_text()))
    assert read(tmp_path, {**options, "feature_extractor_type": f"{kind}FeatureExtractor"}) == ours
    (tmp_path / NAME).write_text(json.dumps(ours.to_dict()))
    back = transformers.AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    for image in PICTURES:
        mine = ours.normalise(ours.fit(image)[None])[0]
        assert mine.shape == (3, *ours.size)
        for processor in theirs, back:
            expected = np.asarray(processor(image)["pixel_values"][0], np.float32)
            assert np.abs(mine - expected).max() <= 1e-6
    assert read(tmp_path, ours.to_dict()) == ours


def test_families_have_the_kind_that_transformers_gives_them() -> None:
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES

    for name, family in families().items():
        if family.modality == "image":
            theirs = IMAGE_PROCESSOR_MAPPING_NAMES[name.removesuffix("_with_registers")]
            assert family.image_processor == theirs["torchvision"], name


def test_what_a_file_leaves_unsaid_is_what_transformers_takes() -> None:
    for kind, unsaid in UNSAID.items():
        theirs = getattr(transformers, f"{kind}Pil")().to_dict()
        assert ImageProcessor.from_dict(theirs, unsaid) == ImageProcessor.from_dict({}, unsaid)


def test_files_of_transformers_4(tmp_path: Path) -> None:
    half = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25], "do_normalize": True, "do_resize": True}
    old = {**half, "feature_extractor_type": "ViTFeatureExtractor", "resample": 2, "size": 384}
    assert read(tmp_path, old) == ImageProcessor((384, 384), std=(0.25, 0.25, 0.25))
    old = {**half, "feature_extractor_type": "ConvNextFeatureExtractor", "resample": 3, "size": 224, "crop_pct": 0.875}
    assert read(tmp_path, old) == ImageProcessor((224, 224), 3, std=(0.25, 0.25, 0.25), resized=256)
    del old["feature_extractor_type"]
    assert read(tmp_path, old, "resnet").resized == 256
    slow = {**half, "image_processor_type": "DeiTImageProcessorFast", "crop_size": 224, "size": 256, "resample": 3}
    assert read(tmp_path, slow).resized == (256, 256)
    with pytest.raises(UserError, match="'LevitImageProcessor' is not supported; there are ViTImageProcessor"):
        read(tmp_path, {"image_processor_type": "LevitImageProcessor"})
    with pytest.raises(UserError, match="crop_pct"):
        read(tmp_path, {"image_processor_type": "ViTImageProcessor", "crop_pct": 0.9})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("do_pad", True),
        ("do_flip_channel_order", True),
        ("rescale_offset", True),
        ("size_divisor", 32),
        ("auto_map", {"AutoImageProcessor": "x.Y"}),
        ("size", {"shortest_edge": 224}),
        ("size", {"shortest_edge": 224, "longest_edge": 300}),
        ("size", {"height": 0, "width": 4}),
        ("resample", 9),
        ("image_std", [1.0, 0.0, 1.0]),
        ("image_mean", [0.5]),
        # Values that a picture can not be computed with, or of another type.
        ("image_mean", [0.5, math.nan, 0.5]),
        ("image_mean", math.inf),
        ("image_mean", [1e300, 0.5, 0.5]),
        ("image_mean", [10**400, 0.5, 0.5]),
        ("image_mean", [True, 0.5, 0.5]),
        ("image_mean", {"a": 1, "b": 2, "c": 3}),
        ("image_mean", "0.5"),
        ("image_std", [0.5, -0.5, 0.5]),
        ("image_std", [0.5, 1e-44, 0.5]),
        ("image_std", math.nan),
        ("rescale_factor", math.nan),
        ("rescale_factor", 1e200),
        ("rescale_factor", [1.0, 1.0, 1.0]),
        ("resample", True),
        ("resample", [2]),
        ("resample", 2.0),
        ("do_resize", "no"),
        ("do_normalize", 1),
        ("do_center_crop", []),
        ("size", {"height": True, "width": 4}),
        ("size", {"height": 10**9, "width": 4}),
        ("size", 10**9),
        ("size", [4, 4, 4]),
        ("size", math.nan),
    ],
)
def test_what_is_not_supported_is_named(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=key):
        ImageProcessor.from_dict({key: value})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"do_center_crop": True}, "do_center_crop and crop_pct"),
        ({"size": {"height": 9, "width": 9}}, "shortest_edge"),
        ({"crop_pct": 0}, "crop_pct 0"),
        ({"crop_pct": math.nan}, "crop_pct nan"),
        ({"crop_pct": 1e-9}, "crop_pct 1e-09"),
        ({"crop_pct": True}, "crop_pct True"),
    ],
)
def test_what_contradicts_a_share_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        ImageProcessor.from_dict(options, UNSAID["ConvNextImageProcessor"])
    with pytest.raises(UserError, match="crop_size"):
        ImageProcessor.from_dict({"do_center_crop": True, "crop_size": {"shortest_edge": 3}})


def test_what_changes_no_pixels_is_taken() -> None:
    harmless = {"do_center_crop": False, "crop_size": 3, "do_convert_rgb": True, "do_pad": None, "processor_class": "X"}
    assert ImageProcessor.from_dict(harmless) == ImageProcessor.from_dict({}, PLAIN) == ImageProcessor()


def test_another_size_sees_the_same_part_of_a_picture() -> None:
    assert ImageProcessor((224, 224), resized=256).at((112, 112)) == ImageProcessor((112, 112), resized=128)
    assert ImageProcessor((20, 40), resized=(30, 80)).at((40, 20)) == ImageProcessor((40, 20), resized=(60, 40))
    assert ImageProcessor((20, 40)).at((8, 8)) == ImageProcessor((8, 8))


def test_what_is_told_of_it() -> None:
    assert ImageProcessor((20, 40)).told == "resized to 40 x 20"
    assert ImageProcessor((20, 40), do_resize=False).told == "40 x 20 as they are"
    assert ImageProcessor((9, 9), resized=12).told == "resized to 12 on the shorter side, the middle of 9 x 9"
    assert ImageProcessor((9, 9), resized=(12, 14)).told == "resized to 14 x 12, the middle of 9 x 9"
    assert ImageProcessor((9, 9), resized=12, do_resize=False).told == "the middle of 9 x 9"


def test_a_picture_that_would_become_huge_is_refused() -> None:
    with pytest.raises(UserError, match="2 x 9000 pixels, which is too long"):
        ImageProcessor(resized=256).fit(Image.new("RGB", (2, 9000)))


def test_a_model_reads_what_its_processor_gives(tmp_path: Path) -> None:
    """Published DINOv2 models: positions for 518 pixels, pictures of 224; ours are 28 and 14."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 7}
    model = transformers.Dinov2WithRegistersModel(transformers.Dinov2WithRegistersConfig(**sizes)).eval()
    theirs = transformers.BitImageProcessorPil(size={"shortest_edge": 16}, crop_size=14)
    model.save_pretrained(tmp_path)
    theirs.save_pretrained(tmp_path)
    picture(40, 33).save(tmp_path / "a.png")
    with torch.no_grad():
        pixels = theirs(Image.open(tmp_path / "a.png"), return_tensors="pt")
        expected = model(**pixels).last_hidden_state.mean(1).numpy()
    assert describe(tmp_path).config.image_size == (28, 28)
    assert np.abs(load(tmp_path).features([tmp_path / "a.png"]) - expected).max() <= 1e-5


@pytest.mark.parametrize(("asked", "resized"), [(None, 40), (16, 20)])
def test_fine_tuning_keeps_what_is_cut_away(asked: int | None, resized: int, tmp_path: Path) -> None:
    sizes = {"hidden_sizes": [8, 16], "embedding_size": 8, "depths": [1, 1], "layer_type": "basic"}
    transformers.ResNetModel(transformers.ResNetConfig(**sizes)).save_pretrained(tmp_path / "start")
    transformers.ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.8).save_pretrained(tmp_path / "start")
    for label in "ab":
        (tmp_path / "photos" / label).mkdir(parents=True)
        for seed in range(6):
            picture(20, 24, seed).save(tmp_path / "photos" / label / f"{seed}.png")
    how = {"steps": 1, "seeds": 1, "precision": "fp32", "device": "cpu", "quiet": True}
    result = finetune(tmp_path / "start", tmp_path / "photos", out=tmp_path / "out", image_size=asked, **how)
    side = asked or 32
    assert result.model.config.image_size == (side, side)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "out", backend="pil")
    model = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / "out").eval()
    path = tmp_path / "photos" / "a" / "0.png"
    pixels = processor(Image.open(path), return_tensors="pt")
    assert pixels["pixel_values"].shape[-1] == side
    with torch.no_grad():
        expected = model(**pixels).logits.softmax(-1)[0].tolist()
    found = load(tmp_path / "out")
    assert found.reader.resized == resized
    assert list(found.predict([path])[0]["probabilities"].values()) == pytest.approx(expected, abs=1e-5)
