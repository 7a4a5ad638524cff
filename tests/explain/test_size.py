"""The size of a model on paper, against the real module: parameters, counted FLOPs, and what autograd really saves."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import pydantic
import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import patchword as pw
from patchword.cli.main import main
from patchword.explain.size import Size, explain, size_of, training_flops_per_token
from patchword.models.config import EncoderDecoderConfig, GenerativeConfig
from patchword.models.family import Family, Model, WayOut, families, preset, presets
from patchword.models.folder import write_model
from patchword.models.heads import NextTokenHead, VocabularyHead
from patchword.models.stems import WordEmbedding
from patchword.models.trunks import Decoder, EncoderDecoder, Generative
from patchword.nn.attention import CAUSAL, CrossAttention, Mask, SelfAttention
from patchword.nn.block import Block, DecoderBlock, pre_norm
from patchword.nn.cache import Cache
from patchword.nn.experts import MixtureOfExperts
from patchword.nn.feedforward import FeedForward, GatedFeedForward
from patchword.nn.norm import RMSNorm
from patchword.nn.packing import Layout, Packed
from patchword.nn.positions import RelativeBias, Rotary
from patchword.nn.transformer import Transformer

WITHIN = 0.03
COUNT, LENGTH = 3, 48
SMALL = {
    "width": 64,
    "depth": 2,
    "decoder_depth": 2,
    "heads": 4,
    "decoder_heads": 4,
    "hidden": 256,
    "decoder_hidden": 256,
    "vocab_size": 300,
    "max_length": 64,
    "image_size": (64, 64),
    "patch_size": 16,
}
SMALL_WHERE_SET = {"kv_heads": 2, "head_size": 16}


def small(family: Family, **more: Any) -> Any:
    """The first preset of a family with small sizes, or with small inputs where its own sizes go together."""
    config = next(iter(family.presets.values()))
    for wanted in (SMALL, {name: SMALL[name] for name in ("vocab_size", "max_length", "image_size")}):
        update = {name: value for name, value in (wanted | more).items() if name in type(config).model_fields}
        if "width" in wanted:
            update |= {name: size for name, size in SMALL_WHERE_SET.items() if getattr(config, name, None) is not None}
        ids = {name: 1 for name, value in config if name.endswith("_token_id") and value is not None}
        try:
            return type(config).model_validate(config.model_dump() | update | ids)
        except pydantic.ValidationError as error:
            reason = error
    pytest.skip(f"{family.model_type} can not be made small: {reason}")


def build(family: Family, config: Any, way_out: str) -> Model:
    torch.manual_seed(0)
    return Model(family, config, way_out, ("a", "b", "c") if "class" in way_out else ())


def inputs(model: Model) -> Any:
    if model.family.modality == "image":
        return torch.randn(COUNT, getattr(model.config, "channels", 3), *model.config.image_size)
    return Packed(torch.randint(0, 300, (COUNT * LENGTH,)), Layout([LENGTH] * COUNT))


def on_paper(model: Model, **options: Any) -> Size:
    return size_of(model, length=LENGTH if model.family.modality == "text" else None, **options)


def counted_flops(model: Model) -> float:
    """Of one sequence; the counter knows the dense attention of a CPU, not the fused one."""
    given = inputs(model)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        model.eval()(given)
    return counter.get_total_flops() / COUNT


def saved_bytes(model: Model) -> int:
    """What autograd saves of all sequences, each storage once, parameters left out."""
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            storages[storage.data_ptr()] = storage  # alive, so that no other gets its address
        return tensor

    model.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden = model.features(inputs(model))
        if isinstance(model.head, VocabularyHead):
            result = model.head.loss(hidden.values, torch.zeros(len(hidden.values), dtype=torch.long))
        else:
            result = model.head(hidden)
    total = sum(storage.nbytes() for storage in storages.values())
    assert result.requires_grad
    return total


def every_head() -> list[Any]:
    return [
        pytest.param(family, way_out, id=f"{family.model_type}-{way_out}")
        for family in families().values()
        for way_out in family.ways_out
    ]


@pytest.mark.parametrize("name", list(presets()))
def test_parameters_are_those_of_the_module(name: str) -> None:
    family, config = preset(name)
    for way_out in family.ways_out:
        size = explain(name, way_out=way_out)
        with torch.device("meta"):
            labels = tuple(map(str, range(1000 if family.modality == "image" else 2)))
            assert size.total("parameters") == Model(family, config, way_out, labels).num_parameters


@pytest.mark.parametrize(("family", "way_out"), every_head())
def test_flops_are_those_that_are_counted(family: Family, way_out: str) -> None:
    model = build(family, small(family), way_out)
    assert on_paper(model).flops == pytest.approx(counted_flops(model), rel=WITHIN)


@pytest.mark.parametrize("dropout", [{}, {"dropout": 0.0, "attention_dropout": 0.0}, {"attention_dropout": 0.0}])
@pytest.mark.parametrize(("family", "way_out"), every_head())
def test_kept_bytes_are_those_that_autograd_saves(family: Family, way_out: str, dropout: dict[str, float]) -> None:
    model = build(family, small(family, **dropout), way_out)
    assert on_paper(model).kept(COUNT) == pytest.approx(saved_bytes(model), rel=WITHIN)


# Parts that a family may be composed of, composed here, so that each is checked whatever families there are.


def decoder(config: Any, **parts: Any) -> Decoder:
    norm = partial(parts.get("norm", RMSNorm), config.width)
    feedforward = parts.get("feedforward", lambda: GatedFeedForward(config.width, config.hidden, bias=False))
    attention = parts.get("attention", {})
    return Decoder(
        WordEmbedding(nn.Embedding(config.vocab_size, config.width), dropout=config.dropout),
        Transformer(
            config.depth,
            lambda layer: Block(
                attention=SelfAttention(config.width, config.heads, **({"mask": CAUSAL} | attention)),
                feedforward=feedforward(),
                norm=norm,
                order=pre_norm,
                dropout=config.dropout,
            ),
            norm,
        ),
        config.max_length,
    )


def encoder_decoder(config: Any) -> EncoderDecoder:
    words = nn.Embedding(config.vocab_size, config.width)
    norm = partial(RMSNorm, config.width)
    feedforward = partial(FeedForward, config.width, config.hidden, activation="relu", dropout=config.dropout)
    back, both = (RelativeBias(config.heads, both_ways=both_ways) for both_ways in (False, True))
    attention = partial(SelfAttention, config.width, config.heads, scale=1.0, dropout=config.attention_dropout)
    common: dict[str, Any] = {"norm": norm, "order": pre_norm, "dropout": config.dropout}
    return EncoderDecoder(
        WordEmbedding(words),
        Transformer(2, lambda i: Block(attention=attention(relative=both), feedforward=feedforward(), **common), norm),
        WordEmbedding(words),
        Transformer(
            2,
            lambda i: DecoderBlock(
                attention=attention(mask=CAUSAL, relative=back),
                cross=CrossAttention(config.width, config.heads, dropout=config.attention_dropout),
                feedforward=feedforward(),
                **common,
            ),
            norm,
            dropout=config.dropout,
        ),
        start=0,
        max_length=config.max_length,
    )


def made(trunk: Callable[[Any], nn.Module], config: Any) -> Model:
    head = WayOut("None", lambda c, t, k: NextTokenHead(c.width, c.vocab_size))
    return build(
        Family("made", "text", type(config), trunk, "", {}, {}, {}, {"next_token": head}, {}), config, "next_token"
    )


ROTARY = {"positions": Rotary(16), "kv_heads": 2, "bias": False}
DECODERS = {
    "rotary, shared keys": {"attention": ROTARY},
    "norms of queries and keys": {"attention": ROTARY | {"norm": RMSNorm}},
    "the same with dropout": {"attention": ROTARY | {"norm": RMSNorm, "dropout": 0.1}},
    "a window": {"attention": ROTARY | {"mask": Mask(causal=True, window=7)}},
    "experts": {"feedforward": lambda: MixtureOfExperts(64, 96, experts=4, active=2)},
    "gates with dropout": {"feedforward": lambda: GatedFeedForward(64, 96, activation="relu", dropout=0.1)},
    "relu": {"feedforward": lambda: FeedForward(64, 96, activation="relu"), "norm": nn.LayerNorm},
}


def composed() -> list[Any]:
    sizes = {name: SMALL[name] for name in ("width", "depth", "heads", "hidden", "vocab_size", "max_length")}
    one, two = GenerativeConfig(**sizes), EncoderDecoderConfig(**sizes, decoder_depth=2)
    plain = two.model_copy(update={"dropout": 0.0, "attention_dropout": 0.0})
    return [
        *(pytest.param(partial(decoder, **parts), one, id=name) for name, parts in DECODERS.items()),
        pytest.param(encoder_decoder, two, id="two stacks"),
        pytest.param(encoder_decoder, plain, id="two stacks without dropout"),
    ]


every_composition = pytest.mark.parametrize(("trunk", "config"), composed())


@every_composition
def test_every_part_has_the_flops_that_are_counted(trunk: Callable[[Any], nn.Module], config: Any) -> None:
    model = made(trunk, config)
    size = on_paper(model)
    assert size.flops == pytest.approx(counted_flops(model), rel=1e-6)
    assert size.total("parameters") == model.num_parameters


@every_composition
def test_every_part_keeps_what_autograd_saves(trunk: Callable[[Any], nn.Module], config: Any) -> None:
    model = made(trunk, config)
    assert on_paper(model).kept(COUNT) == pytest.approx(saved_bytes(model), rel=WITHIN)


@every_composition
def test_the_cache_has_the_size_on_paper(trunk: Callable[[Any], nn.Module], config: Any) -> None:
    model = made(trunk, config).eval()
    body = model.trunk
    assert isinstance(body, Generative)
    tokens = inputs(model)
    cache = Cache(len(body.decoder.layers), LENGTH, LENGTH)
    memory = body.encode(tokens) if isinstance(body, EncoderDecoder) else None
    with torch.no_grad():
        body.decode(tokens, memory, cache)
    kept = [part for layer in cache.layers for part in (layer.own, layer.other) if part.holds_any]
    held = sum(part.keys.numel() + part.values.numel() for part in kept)
    assert on_paper(model).cache_full == held / COUNT


def test_a_model_without_experts_is_active_as_a_whole() -> None:
    size = explain("llama-tiny")
    assert size.total("active") == size.total("parameters")


def test_experts_that_a_token_does_not_meet_are_not_active() -> None:
    config = composed()[0].values[1]
    model = made(partial(decoder, feedforward=lambda: MixtureOfExperts(64, config.hidden, experts=4, active=1)), config)
    size = on_paper(model)
    assert size.total("parameters") - size.total("active") == config.depth * 3 * 3 * 64 * config.hidden


def test_vit_base_is_what_the_paper_says() -> None:
    size = explain("vit-base-16")
    assert round(size.total("parameters") / 1e6, 1) == 86.6
    assert size.tokens == 197
    assert size.patches == (14, 14)
    assert (size.patches[0] * size.patches[1]) ** 2 == 14**4 == 38416
    assert size.attention_matrices == 12 * 12
    assert size.attention_entries == 12 * 12 * 197**2
    layers = 12 * (197 * 12 * 768**2 + 2 * 197**2 * 768)
    assert size.flops == 2 * (196 * (16 * 16 * 3) * 768 + layers + 768 * 1000)


def test_gpt2_is_what_kaplan_et_al_say() -> None:
    """Section 2.1: 2 N a token, N = 12 x depth x width^2; all products of tokens with tokens are 4 x length x width."""
    size = explain("gpt2", length=1024, targets=0.0)
    n = 12 * 12 * 768**2
    assert size.flops / 1024 == pytest.approx(2 * n + 12 * 4 * 1024 * 768, rel=1e-9)
    assert training_flops_per_token("gpt2", length=1024, targets=0.0) == 3 * size.flops / 1024
    assert size.cache_per_token == 2 * 12 * 768


def test_a_head_at_the_masked_words_only() -> None:
    every, some = (explain("bert-base", targets=share) for share in (1.0, 0.25))
    head = {part.name: part.products for part in every.parts}["head"]
    assert every.flops - some.flops == 0.75 * head


def test_a_folder_is_explained_like_its_preset(tmp_path: Any) -> None:
    family, config = preset("bert-tiny")
    write_model(Model(family, config, "masked_token"), tmp_path)
    assert explain(tmp_path).parts == explain("bert-tiny").parts


def test_the_function_has_the_name_of_its_package() -> None:
    importlib.import_module("patchword.explain.attention")  # the package is now an attribute of the library
    assert pw.explain("bert-tiny").total("parameters") == explain("bert-tiny").total("parameters")


def test_what_can_not_be_is_told() -> None:
    with pytest.raises(pw.UserError, match="did you mean 'bert-base'"):
        explain("bert-bse")
    with pytest.raises(pw.UserError, match=r"takes 1 to 512: give a --length"):
        explain("bert-base", length=513)
    with pytest.raises(pw.UserError, match="as many tokens as it has patches"):
        explain("vit-base-16", length=10)
    with pytest.raises(pw.UserError, match="no way out 'span'"):
        explain("vit-base-16", way_out="span")
    with pytest.raises(pw.UserError, match="A batch of 0"):
        explain("bert-base", batch=0)


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["patchword", "explain", *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 0
        return capsys.readouterr().out

    table = said("vit-base-16")
    assert "86,567,656" in table
    assert "38,416" in table
    numbers = json.loads(said("gpt2", "--json", "--batch", "2", "--length", "128"))
    assert numbers["parameters"] == 124_439_808
    assert numbers["training_flops"]["per_batch"] == 2 * 3 * numbers["flops"]["per_sequence"]
    assert "training_flops" not in json.loads(said("gpt2", "--json", "--no-training"))
    assert "keys and values" in said("gpt2", "--no-training", "--batch", "3")
