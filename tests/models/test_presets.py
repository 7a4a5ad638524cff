"""Presets are the models of the papers: their sizes against the papers' tables, counted without making a weight."""

from __future__ import annotations

import math

import pytest
import torch

from patchword.errors import UserError
from patchword.models.family import Model, preset, presets

CLASSES = tuple(map(str, range(1000)))


def count(name: str, way_out: str, labels: tuple[str, ...] = ()) -> int:
    family, config = preset(name)
    with torch.device("meta"):
        model = Model(family, config, way_out, labels)
    assert {p.device.type for p in model.parameters()} == {"meta"}
    return model.num_parameters


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("bert-tiny", 4.4),
        ("bert-mini", 11.3),
        ("bert-small", 29.1),
        ("bert-medium", 41.7),
        ("bert-base", 110.1),
    ],
)
def test_bert_has_the_sizes_of_turc_et_al_2019_table_1(name: str, millions: float) -> None:
    """The table counts all that pretraining had: the pooler and next-sentence head too, the tied decoder once."""
    width = preset(name)[1].width
    pooler, next_sentence = width * width + width, 2 * (width + 1)
    assert round((count(name, "masked_token") + pooler + next_sentence) / 1e6, 1) == millions


@pytest.mark.parametrize(("name", "millions"), [("bert-base", 110), ("bert-large", 340)])
def test_bert_has_the_sizes_of_devlin_et_al_2018(name: str, millions: float) -> None:
    assert count(name, "features") == pytest.approx(millions * 1e6, rel=0.02)


@pytest.mark.parametrize(
    ("name", "depth", "width", "heads"),
    [("bert-base", 12, 768, 12), ("bert-large", 24, 1024, 16), ("bert-tiny", 2, 128, 2), ("bert-mini", 4, 256, 4)],
)
def test_bert_has_the_shape_that_the_papers_give(name: str, depth: int, width: int, heads: int) -> None:
    config = preset(name)[1]
    assert (config.depth, config.width, config.heads, config.hidden) == (depth, width, heads, 4 * width)
    assert (config.vocab_size, config.max_length, config.segments) == (30522, 512, 2)


@pytest.mark.parametrize(
    ("name", "millions", "within", "depth", "width", "hidden", "heads"),
    [
        ("vit-base-16", 86, 0.01, 12, 768, 3072, 12),
        ("vit-large-16", 307, 0.02, 24, 1024, 4096, 16),
        ("vit-huge-14", 632, 0.005, 32, 1280, 5120, 16),
    ],
)
def test_vit_has_the_sizes_of_dosovitskiy_et_al_2021_table_1(
    name: str, millions: float, within: float, depth: int, width: int, hidden: int, heads: int
) -> None:
    config = preset(name)[1]
    assert (config.depth, config.width, config.hidden, config.heads) == (depth, width, hidden, heads)
    assert count(name, "class", CLASSES) == pytest.approx(millions * 1e6, rel=within)


@pytest.mark.parametrize(("name", "millions"), [("deit-tiny", 5), ("deit-small", 22), ("deit-base", 86)])
def test_deit_has_the_sizes_of_touvron_et_al_2021_table_1(name: str, millions: float) -> None:
    """The table counts a ViT without the distillation token, rounded; the tiny one has 5.5 M and its classes."""
    assert count(name, "features") - preset(name)[1].width ** 2 == pytest.approx(millions * 1e6, rel=0.03, abs=6e5)


@pytest.mark.parametrize(
    ("name", "millions"), [("dinov2-with-registers-small", 21), ("dinov2-with-registers-base", 86)]
)
def test_dinov2_has_the_sizes_of_its_vits(name: str, millions: float) -> None:
    """ViT-S and ViT-B as the authors' own table of models counts them; registers add four vectors."""
    assert count(name, "features") == pytest.approx(millions * 1e6, abs=1e6)


@pytest.mark.parametrize(("name", "like"), [("vit-mae-base", "vit-base-16"), ("vit-mae-large", "vit-large-16")])
def test_a_masked_autoencoder_is_a_vit_of_its_size_but_for_fixed_positions(name: str, like: str) -> None:
    """He et al. 2022, section 4: their encoders are Dosovitskiy et al.'s; the decoder is 8 layers of width 512."""
    config = preset(like)[1]
    positions, pooler = config.tokens * config.width, config.width * (config.width + 1)
    assert count(name, "features") == count(like, "features") - positions - pooler
    layer = 12 * 512**2 + 13 * 512
    ends = 512 * (config.width + 1) + 512 + 2 * 512 + 768 * (512 + 1)
    assert count(name, "masked_image") - count(name, "features") == 8 * layer + ends


@pytest.mark.parametrize(("name", "millions"), [("vit-tiny-16", 5.7), ("vit-small-16", 22)])
def test_vit_has_the_sizes_of_touvron_et_al_2021_table_1(name: str, millions: float) -> None:
    assert count(name, "class", CLASSES) == pytest.approx(millions * 1e6, rel=0.01)


@pytest.mark.parametrize(
    ("name", "patches"), [("vit-base-16", 196), ("vit-base-32", 49), ("vit-huge-14", 256), ("vit-tiny-16", 196)]
)
def test_a_picture_of_224_pixels_is_so_many_patches_and_a_class_token(name: str, patches: int) -> None:
    family, config = preset(name)
    assert config.tokens == patches + 1
    small = config.model_copy(update={"depth": 1, "width": 32, "heads": 2, "hidden": 32})
    features = Model(family, small, "features").features(torch.zeros(2, 3, 224, 224))
    assert features.layout.lengths == (patches + 1, patches + 1)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet-18", 11_689_512),
        ("resnet-34", 21_797_672),
        ("resnet-50", 25_557_032),
        ("resnet-101", 44_549_160),
        ("resnet-152", 60_192_808),
    ],
)
def test_resnet_has_the_sizes_of_he_et_al_2016_table_1(name: str, parameters: int) -> None:
    """The table gives the layers; torchvision's models of those layers have so many parameters."""
    assert count(name, "class", CLASSES) == parameters
    config = preset(name)[1]
    per_block = {"basic": 2, "bottleneck": 3}[config.block]
    assert 2 + per_block * config.depth == int(name.removeprefix("resnet-"))


def test_bit_has_the_sizes_that_kolesnikov_et_al_2020_build_on() -> None:
    """R50x1 has the parameters of a ResNet-50 but for the norm at another place; x3 is about nine times as large."""
    assert count("bit-50", "class", CLASSES) == pytest.approx(25.5e6, rel=0.003)
    assert count("bit-101", "class", CLASSES) == pytest.approx(44.5e6, rel=0.003)
    assert count("bit-152", "class", CLASSES) == pytest.approx(60.2e6, rel=0.003)
    assert count("bit-50x3", "features") == pytest.approx(9 * count("bit-50", "features"), rel=0.01)


@pytest.mark.parametrize("name", ["resnet-18", "bit-50"])
@pytest.mark.parametrize("image", [(224, 224), (64, 96), (33, 20)])
def test_a_place_of_a_convolutional_network_is_32_pixels(name: str, image: tuple[int, int]) -> None:
    family, config = preset(name)
    small = {"stem_width": 32, "widths": (128,) * 4, "width": 128, "depths": (1,) * 4, "image_size": image}
    config = config.model_copy(update=small)
    features = Model(family, config, "features").eval().features(torch.zeros(2, 3, *image))
    assert config.tokens == math.ceil(image[0] / 32) * math.ceil(image[1] / 32)
    assert features.layout.lengths == (config.tokens,) * 2


def test_batch_norm_learns_from_one_place_of_one_picture() -> None:
    family, config = preset("resnet-18")
    model = Model(family, config, "class", CLASSES[:3]).train()
    assert model(torch.zeros(1, 3, 32, 32)).isfinite().all()


@pytest.mark.parametrize("name", list(presets()))
def test_every_preset_can_be_built_with_every_head(name: str) -> None:
    family, config = preset(name)
    with torch.device("meta"):
        for way_out in family.ways_out:
            model = Model(
                family, config, way_out, CLASSES if way_out in ("class", "class_distilled", "token_class") else ()
            )
            written = [
                name
                for parameter in model.tensors()
                for name in family.rule(parameter, way_out, family.prefix).names(config)
            ]
            assert len(set(written)) == len(written)


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one() -> None:
    with pytest.raises(UserError, match="did you mean 'bert-mini'"):
        preset("bert-minni")
    with pytest.raises(UserError, match="no way out 'masked_token'"):
        preset("vit-tiny-16")[0].way_out("masked_token")
