"""Presets are the models of the papers: their sizes against the papers' tables, counted without making a weight."""

from __future__ import annotations

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
    ("name", "millions", "depth", "width", "heads"),
    [("roberta-base", 125, 12, 768, 12), ("roberta-large", 355, 24, 1024, 16)],
)
def test_roberta_has_the_sizes_of_liu_et_al_2019(name: str, millions: int, depth: int, width: int, heads: int) -> None:
    """Section 5 gives L = 24, H = 1024, A = 16 and 355 million; their code's list of models gives 125 million."""
    config = preset(name)[1]
    assert (config.depth, config.width, config.heads, config.hidden) == (depth, width, heads, 4 * width)
    assert (config.vocab_size, config.max_length, config.segments) == (50265, 512, 1)
    assert round(count(name, "masked_token") / 1e6) == millions


def test_distilbert_has_the_size_of_sanh_et_al_2019_table_3() -> None:
    config = preset("distilbert-base")[1]
    assert (config.depth, config.width, config.heads, config.hidden) == (6, 768, 12, 3072)
    assert round(count("distilbert-base", "features") / 1e6) == 66


@pytest.mark.parametrize(
    ("name", "millions", "depth", "width", "hidden"),
    [("modernbert-base", 149, 22, 768, 2304 // 2), ("modernbert-large", 395, 28, 1024, 5248 // 2)],
)
def test_modernbert_has_the_sizes_of_warner_et_al_2024_section_2_1(
    name: str, millions: int, depth: int, width: int, hidden: int
) -> None:
    """Of the trunk; the paper's "GLU expansion" counts both halves of the gated product."""
    config = preset(name)[1]
    assert (config.depth, config.width, config.hidden) == (depth, width, hidden)
    assert (config.vocab_size, config.max_length, config.window, config.global_every) == (50368, 8192, 64, 3)
    assert round(count(name, "features") / 1e6) == millions


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


@pytest.mark.parametrize("name", list(presets()))
def test_every_preset_can_be_built_with_every_head(name: str) -> None:
    family, config = preset(name)
    with torch.device("meta"):
        for way_out in family.ways_out:
            model = Model(family, config, way_out, CLASSES if way_out in ("class", "token_class") else ())
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
