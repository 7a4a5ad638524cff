"""Presets are the models of the papers: their sizes against the papers' tables, counted without making a weight."""

from __future__ import annotations

import math

import pytest
import torch

from patchword.errors import UserError
from patchword.explain.size import explain
from patchword.models.family import Model, preset, presets
from patchword.nn.positions import GridSinCos

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


@pytest.mark.parametrize(
    ("name", "millions", "depth", "width", "hidden", "heads"),
    [("xlm-roberta-base", 270, 12, 768, 3072, 12), ("xlm-roberta-large", 550, 24, 1024, 4096, 16)],
)
def test_xlm_roberta_has_the_sizes_of_conneau_et_al_2020(
    name: str, millions: int, depth: int, width: int, hidden: int, heads: int
) -> None:
    """The appendix's table rounds to 270 and 550 million; the published weights are 278 and 560."""
    config = preset(name)[1]
    assert (config.depth, config.width, config.hidden, config.heads) == (depth, width, hidden, heads)
    assert (config.vocab_size, config.max_length, config.segments) == (250002, 512, 1)
    assert count(name, "masked_token") == pytest.approx(millions * 1e6, rel=0.035)
    assert round(count(name, "masked_token") / 1e6) == {270: 278, 550: 560}[millions]


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


@pytest.mark.parametrize(("size", "within"), [("tiny", 0.2), ("mini", 0.03), ("small", 0.05), ("base", 0.1)])
def test_our_own_encoders_have_layers_as_large_as_berts(size: str, within: float) -> None:
    """4 w^2 + 3 w h numbers and 2 norms a layer, near BERT's 12 w^2; words aside, of which there are others.

    The first layer and the last look at the whole sequence.
    """
    (_, ours), (_, bert) = preset(f"patchword-{size}"), preset(f"bert-{size}")
    words = ours.vocab_size * (ours.width + 1)
    layers = ours.depth * (4 * ours.width**2 + 3 * ours.width * ours.hidden + 2 * ours.width) - ours.width
    around = ours.width**2 + 3 * ours.width  # the head's dense layer and norm, the norms of the words and at the end
    assert count(f"patchword-{size}", "masked_token") == words + layers + around
    theirs = 12 * bert.depth * bert.width**2
    assert layers == pytest.approx(theirs, rel=within)
    assert size == "tiny" or (ours.depth - 1) % ours.global_every == 0
    assert ours.vocab_size % 64 == ours.hidden % 64 == 0


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
    ("name", "exact"),
    [
        ("gpt", 116_534_784),
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
        ("llama-7b", 6_738_415_616),
        ("llama-13b", 13_015_864_320),
        ("llama2-70b", 68_976_648_192),
        ("llama3-8b", 8_030_261_248),
        ("llama3.2-1b", 1_235_814_400),
        ("llama3.2-3b", 3_212_749_824),
        ("mistral-7b", 7_241_732_096),
        ("mixtral-8x7b", 46_702_792_704),
    ],
)
def test_a_decoder_has_as_many_numbers_as_its_published_weights(name: str, exact: int) -> None:
    """Numbers in the files that were published, the word table once where it is shared."""
    assert count(name, "next_token") == exact


@pytest.mark.parametrize(
    ("name", "millions"), [("gpt2", 117), ("gpt2-medium", 345), ("gpt2-large", 762), ("gpt2-xl", 1542)]
)
def test_gpt2_has_the_sizes_of_radford_et_al_2019_table_2(name: str, millions: float) -> None:
    """The table is known to be too low: the authors' README gives 124, 355, 774 and 1558 million."""
    assert count(name, "next_token") == pytest.approx(millions * 1e6, rel=0.07)


@pytest.mark.parametrize(
    ("name", "billions", "depth", "heads", "width"),
    [
        ("opt-125m", "0.125", 12, 12, 768),
        ("opt-1.3b", "1.3", 24, 32, 2048),
        ("opt-6.7b", "6.7", 32, 32, 4096),
        ("opt-13b", "13", 40, 40, 5120),
        ("opt-30b", "30", 48, 56, 7168),
        ("opt-66b", "66", 64, 72, 9216),
    ],
)
def test_opt_has_the_sizes_of_zhang_et_al_2022_table_1(
    name: str, billions: str, depth: int, heads: int, width: int
) -> None:
    config = preset(name)[1]
    assert (config.depth, config.heads, config.width, config.hidden) == (depth, heads, width, 4 * width)
    assert (config.vocab_size, config.max_length) == (50272, 2048)
    places = len(billions.partition(".")[2])
    assert f"{count(name, 'next_token') / 1e9:.{places}f}" == billions


@pytest.mark.parametrize(
    ("name", "billions", "width", "heads", "depth"),
    [
        ("llama-7b", 6.7, 4096, 32, 32),
        ("llama-13b", 13.0, 5120, 40, 40),
        ("llama-33b", 32.5, 6656, 52, 60),
        ("llama-65b", 65.2, 8192, 64, 80),
    ],
)
def test_llama_has_the_sizes_of_touvron_et_al_2023_table_2(
    name: str, billions: float, width: int, heads: int, depth: int
) -> None:
    config = preset(name)[1]
    assert (config.width, config.heads, config.depth) == (width, heads, depth)
    # Its 65.2 is 65.29, cut.
    assert count(name, "next_token") / 1e9 == pytest.approx(billions, abs=0.1)


@pytest.mark.parametrize(
    ("name", "depth", "width", "hidden", "heads"),
    [("llama3-8b", 32, 4096, 14336, 32), ("llama3-70b", 80, 8192, 28672, 64)],
)
def test_llama_3_has_the_sizes_of_grattafiori_et_al_2024_table_3(
    name: str, depth: int, width: int, hidden: int, heads: int
) -> None:
    config = preset(name)[1]
    assert (config.depth, config.width, config.hidden, config.heads) == (depth, width, hidden, heads)
    assert (config.kv_heads, config.vocab_size, config.rotary_base) == (8, 128256, 500000)
    assert round(count(name, "next_token") / 1e9) in (8, 71)


def test_mixtral_has_the_sizes_of_jiang_et_al_2024() -> None:
    """Section 1: 47 billion numbers, of which a word goes through 13."""
    config, active = preset("mixtral-8x7b")[1], explain("mixtral-8x7b").total("active")
    layer = config.width * (2 * config.width + 2 * config.kv_heads * config.head_width + config.experts + 2)
    two = config.active_experts * 3 * config.width * config.hidden
    assert active == config.depth * (layer + two) + config.width * (2 * config.vocab_size + 1)
    assert round(active / 1e9, 1) == 12.9
    assert round(count("mixtral-8x7b", "next_token") / 1e9, 1) == 46.7


@pytest.mark.parametrize(
    ("name", "billions", "without_words", "depth", "heads", "tied"),
    [
        ("qwen3-0.6b", 0.6, 0.44, 28, 16, True),
        ("qwen3-1.7b", 1.7, 1.4, 28, 16, True),
        ("qwen3-4b", 4.0, 3.6, 36, 32, True),
        ("qwen3-8b", 8.2, 6.95, 36, 32, False),
        ("qwen3-14b", 14.8, 13.2, 40, 40, False),
        ("qwen3-32b", 32.8, 31.2, 64, 64, False),
    ],
)
def test_qwen3_has_the_sizes_of_yang_et_al_2025_table_1(
    name: str, billions: float, without_words: float, depth: int, heads: int, tied: bool
) -> None:
    """Layers, heads and shared words are the table's; both counts are those of the published models' cards."""
    config = preset(name)[1]
    assert (config.depth, config.heads, config.kv_heads, config.tied) == (depth, heads, 8, tied)
    total = count(name, "next_token")
    assert round(total / 1e9, 1) == billions
    words = config.vocab_size * config.width * (1 if tied else 2)
    assert (total - words) / 1e9 == pytest.approx(without_words, rel=0.02)


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


@pytest.mark.parametrize("name", ["patchword-image-tiny", "dinov2-with-registers-small"])
def test_registers_begin_unequal_and_places_as_sines_and_cosines(name: str) -> None:
    """Equal registers would get equal gradients for ever."""
    family, config = preset(name)
    embed = Model(family, config.model_copy(update={"depth": 1}), "features").trunk.embed
    special = torch.cat([embed.registers, embed.class_token[None]]).detach()
    assert torch.cdist(special, special).add(torch.eye(len(special)) * 9).min() > config.init_std
    places = embed.positions.weight.detach()
    assert torch.equal(places, GridSinCos(config.grid, config.width).weight)


@pytest.mark.parametrize(
    ("name", "like"),
    [
        ("patchword-decoder-tiny", "patchword-tiny"),
        ("patchword-decoder-base", "patchword-base"),
        ("patchword-image-small", "vit-small-16"),
        ("patchword-image-base", "vit-base-16"),
    ],
)
def test_the_ladders_stand_beside_each_other(name: str, like: str) -> None:
    """As many numbers as the encoder, or the ViT, of that size, within 3 %, but for a decoder's table of scores."""
    if "image" in name:
        assert count(name, "class", CLASSES) == pytest.approx(count(like, "class", CLASSES), rel=0.03)
    else:
        config = preset(name)[1]
        scores = config.vocab_size * config.width
        assert count(name, "next_token") - scores == pytest.approx(count(like, "masked_token"), rel=0.03)


def test_words_with_a_table_of_their_own_begin_as_large_as_what_layers_add() -> None:
    family, config = preset("patchword-decoder-tiny")
    small = {"vocab_size": 500, "depth": 1}
    for tied, std in ((False, 1.0), (True, config.init_std)):
        words = Model(family, config.model_copy(update=small | {"tied": tied}), "next_token").trunk.embed.words.weight
        assert float(words.detach().std()) == pytest.approx(std, rel=0.15)  # a cut normal is a little narrower
