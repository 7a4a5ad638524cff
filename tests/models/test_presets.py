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


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("t5-small", 60_506_624),
        ("t5-base", 222_903_552),
        ("t5-large", 737_668_096),
        ("t5-3b", 2_851_598_336),
        ("t5-11b", 11_307_321_344),
        ("t5-v1_1-small", 76_961_152),
        ("t5-v1_1-base", 247_577_856),
        ("t5-v1_1-large", 783_150_080),
        ("flan-t5-xl", 2_849_757_184),
        ("flan-t5-xxl", 11_135_332_352),
    ],
)
def test_t5_has_the_sizes_of_the_published_weights(name: str, numbers: int) -> None:
    assert count(name, "next_token") == numbers


@pytest.mark.parametrize(
    ("name", "millions"), [("t5-small", 60), ("t5-base", 220), ("t5-large", 770), ("t5-3b", 2800), ("t5-11b", 11000)]
)
def test_t5_has_the_sizes_of_raffel_et_al_2020_section_3_7(name: str, millions: float) -> None:
    assert count(name, "next_token") == pytest.approx(millions * 1e6, rel=0.05)


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("flan-t5-small", 80),
        ("flan-t5-base", 250),
        ("flan-t5-large", 780),
        ("flan-t5-xl", 3000),
        ("flan-t5-xxl", 11000),
    ],
)
def test_flan_t5_has_the_sizes_of_chung_et_al_2022_table_2(name: str, millions: float) -> None:
    """The table has them in two digits."""
    assert count(name, "next_token") == pytest.approx(millions * 1e6, rel=0.06)


@pytest.mark.parametrize(("name", "numbers"), [("bart-base", 139_420_416), ("bart-large", 406_291_456)])
def test_bart_has_the_sizes_of_the_published_weights(name: str, numbers: int) -> None:
    """The authors' list of models rounds them to 140 and 400 million; sizes are in Lewis et al. 2020, section 5."""
    assert count(name, "next_token") == numbers
