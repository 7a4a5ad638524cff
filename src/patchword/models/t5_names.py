"""How Hugging Face's files spell a T5: keys of `config.json`, and names of weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from patchword.models import encoder_decoders
from patchword.models.family import Key
from patchword.models.weights import Chosen, Names, Rows, Same, Spare, weights_and_biases, with_prefix


def _read_activation(raw: Mapping[str, Any]) -> str:
    name = str(raw.get("feed_forward_proj") or "relu")
    return "gelu_new" if name == "gated-gelu" else name.removeprefix("gated-")


def _own_scores(raw: Mapping[str, Any]) -> bool:
    """transformers 4 says that they are not tied; 5 says so of none, but that the vectors are not scaled."""
    return raw.get("tie_word_embeddings") is False or raw.get("scale_decoder_outputs") is False


CONFIG_NAMES: dict[str, str | Key] = {
    **encoder_decoders.CONFIG_NAMES,
    "depth": "num_layers",
    "decoder_depth": Key(
        lambda raw: raw.get("num_decoder_layers") or raw.get("num_layers"),
        lambda depth: {"num_decoder_layers": depth, "is_encoder_decoder": True},
    ),
    "heads": "num_heads",
    "head_size": "d_kv",
    "hidden": "d_ff",
    "activation": Key(_read_activation, lambda name: {}),
    "gated": Key(lambda raw: str(raw.get("feed_forward_proj")).startswith("gated-"), lambda gated: {}),
    "projection": Key(lambda raw: None, lambda name: {"feed_forward_proj": name}),
    "norm_eps": "layer_norm_epsilon",
    "buckets": "relative_attention_num_buckets",
    "furthest": "relative_attention_max_distance",
    "dropout": "dropout_rate",
    "attention_dropout": Key(
        lambda raw: raw.get("attention_dropout", raw.get("dropout_rate")), lambda rate: {"attention_dropout": rate}
    ),
    "init_std": "initializer_factor",
    "max_length": "n_positions",
    "tied": Key(lambda raw: not _own_scores(raw), lambda tied: {"tie_word_embeddings": tied}),
}
"""Our fields -> keys of `config.json`."""


def _layer(stack: str, last: int) -> Names:
    """Of a layer whose feed-forward part is their sub-layer of that number."""
    layer = weights_and_biases(
        {
            "attention.qkv": Rows(("0.SelfAttention.q", "0.SelfAttention.k", "0.SelfAttention.v")),
            "attention.out": "0.SelfAttention.o",
            "attention.relative.table": "0.SelfAttention.relative_attention_bias",
            "attention_norm": "0.layer_norm",
            "cross.query": "1.EncDecAttention.q",
            "cross.key_value": Rows(("1.EncDecAttention.k", "1.EncDecAttention.v")),
            "cross.out": "1.EncDecAttention.o",
            "cross_norm": "1.layer_norm",
            "feedforward.down": f"{last}.DenseReluDense.wo",
            "feedforward_norm": f"{last}.layer_norm",
        },
        kinds=("weight",),
    )
    gates = Rows((f"{last}.DenseReluDense.wi_0.weight", f"{last}.DenseReluDense.wi_1.weight"))
    up = Chosen(lambda config: bool(config.gated), gates, Same(f"{last}.DenseReluDense.wi.weight"))
    return with_prefix({**layer, "feedforward.up.weight": up}, f"{stack}.layers.{{i}}.", f"{stack}.block.{{i}}.layer.")


WEIGHT_NAMES: Names = {
    "source.words.weight": "shared.weight",
    "encoder.norm.weight": "encoder.final_layer_norm.weight",
    "decoder.norm.weight": "decoder.final_layer_norm.weight",
    **_layer("encoder", 1),
    **_layer("decoder", 2),
}
"""The trunk's weights in files."""

SCORES: Names = {"scores.weight": Spare("lm_head.weight", "shared.weight")}
"""The scores of the words in files."""
