"""How files spell a ModernBERT: keys of `config.json`, of transformers 4 and 5, and names of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchword.models.config import GENERATIVE_NAMES, TRANSFORMER_NAMES
from patchword.models.config_file import ConfigFile
from patchword.models.family import Key, repeated
from patchword.models.rotation import base_by_kind
from patchword.models.weights import Names, weights_and_biases, with_prefix


def _global_every(raw: ConfigFile) -> int | None:
    """transformers 5 names the kind of every layer, transformers 4 says how often the global ones come."""
    kinds = raw.items_of("layer_types", str)
    if kinds is None:
        return raw.whole("global_attn_every_n_layers")
    raw.get("global_attn_every_n_layers")  # layer_types takes precedence
    if unknown := set(kinds) - {"full_attention", "sliding_attention"}:
        raise ValueError(f"layer_types has '{min(unknown)}'; there are full_attention and sliding_attention")
    depth = raw.whole("num_hidden_layers")
    if len(kinds) != (22 if depth is None else depth):
        raise ValueError(f"layer_types names {len(kinds)} layers, but num_hidden_layers is {depth}")
    places = [place for place, kind in enumerate(kinds) if kind == "full_attention"]
    every = places[1] if len(places) > 1 else len(kinds)
    if places != [*range(0, len(kinds), every)]:
        raise ValueError(
            f"by layer_types, layers {places} look at the whole sequence; only patterns that begin with layer 0 and "
            "repeat at equal distances are supported"
        )
    return every


CONFIG_NAMES: Mapping[str, str | Key] = {
    **TRANSFORMER_NAMES,
    **GENERATIVE_NAMES,
    "activation": "hidden_activation",
    "norm_eps": "norm_eps",
    "dropout": repeated("mlp_dropout", "embedding_dropout"),
    "attention_dropout": "attention_dropout",
    "class_dropout": "classifier_dropout",
    "cls_token_id": "cls_token_id",
    "sep_token_id": "sep_token_id",
    "global_every": Key(_global_every, lambda every: {"global_attn_every_n_layers": every}),
    "window": Key(
        lambda raw: None if (size := raw.whole("local_attention")) is None else size // 2,
        lambda window: {"local_attention": 2 * window},
    ),
    "global_base": base_by_kind("full_attention", "global_rope_theta"),
    "local_base": base_by_kind("sliding_attention", "local_rope_theta"),
    "pooling": "classifier_pooling",
}
"""Our fields -> keys of `config.json`."""

REQUIRED: Mapping[str, Any] = {
    "rope_scaling": None,
    "attention_bias": False,
    "mlp_bias": False,
    "norm_bias": False,
    "classifier_bias": False,
    "classifier_activation": "gelu",
    "decoder_bias": True,
}
"""Keys that must have this value."""

WEIGHT_NAMES: Names = {
    "embed.words.weight": "embeddings.tok_embeddings.weight",
    "embed.norm.weight": "embeddings.norm.weight",
    **{
        f"encoder.layers.{{i}}.{ours}.weight": f"layers.{{i}}.{theirs}.weight"
        for ours, theirs in {
            "attention_norm": "attn_norm",
            "attention.qkv": "attn.Wqkv",
            "attention.out": "attn.Wo",
            "feedforward_norm": "mlp_norm",
            "feedforward.up": "mlp.Wi",
            "feedforward.down": "mlp.Wo",
        }.items()
    },
    "encoder.norm.weight": "final_norm.weight",
}
"""The trunk's weights in files."""

TRANSFORM: Names = {"dense.weight": "/head.dense.weight", "norm.weight": "/head.norm.weight"}
"""Of what all heads begin with."""

SCORES: Names = weights_and_biases({"scores": "/decoder"})
"""Of the scores of the words."""

_SCORES = weights_and_biases({"scores": "/classifier"})

POOLED: Names = {**with_prefix(TRANSFORM, "pool.", ""), **_SCORES}
"""Of scores of a text's classes."""

BEFORE: Names = {**with_prefix(TRANSFORM, "before.", ""), **_SCORES}
"""Of scores of each token."""
