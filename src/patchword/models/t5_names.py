"""How Hugging Face's files spell a T5: keys of `config.json`, and names of weights."""

from __future__ import annotations

from patchword.models import encoder_decoders
from patchword.models.config_file import ConfigFile
from patchword.models.family import Key
from patchword.models.weights import Chosen, Names, Rows, Same, Spare, weights_and_biases, with_prefix


def _projection(raw: ConfigFile) -> str:
    name = raw.text("feed_forward_proj")
    return "relu" if name is None else name


def _activation(raw: ConfigFile) -> str:
    """What transformers 5 derives from the projection it writes beside it, and reads with precedence."""
    derived, name = raw.text("dense_act_fn"), _projection(raw)
    if derived is not None:
        return derived
    return "gelu_new" if name == "gated-gelu" else name.removeprefix("gated-")


def _gated(raw: ConfigFile) -> bool:
    derived = raw.flag("is_gated_act")
    return _projection(raw).startswith("gated-") if derived is None else derived


def _scaled(raw: ConfigFile) -> bool:
    """transformers 4 scales where scores are tied; 5 says it, with precedence, and ties all scores that agree."""
    tied, scaled = raw.flag("tie_word_embeddings"), raw.flag("scale_decoder_outputs")
    return tied is not False if scaled is None else scaled


def _decoder_depth(raw: ConfigFile) -> int | None:
    depth = raw.whole("num_decoder_layers")
    return raw.whole("num_layers") if depth is None else depth


CONFIG_NAMES: dict[str, str | Key] = {
    **encoder_decoders.CONFIG_NAMES,
    "depth": "num_layers",
    "decoder_depth": Key(
        _decoder_depth,
        lambda depth: {"num_decoder_layers": depth, "is_encoder_decoder": True},
    ),
    "heads": "num_heads",
    "head_size": "d_kv",
    "hidden": "d_ff",
    "activation": Key(_activation, lambda name: {}),
    "gated": Key(_gated, lambda gated: {}),
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
    # Whether scores are tied is seen from the weights; those that are not scaled have usually a matrix of their own.
    "tied": Key(_scaled, lambda tied: {}),
    "scaled": Key(_scaled, lambda scaled: {"tie_word_embeddings": scaled}),
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
