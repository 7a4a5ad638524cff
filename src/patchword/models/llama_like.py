"""How files call what Llama, Mistral, Mixtral and Qwen3 have in common, and their ways out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from patchword.data.tokenizers import TokenizerStyle
from patchword.models import ways_out
from patchword.models.config import GENERATIVE_NAMES, TRANSFORMER_NAMES
from patchword.models.config_file import ConfigFile
from patchword.models.family import Family, Key, WayOut, causal_only
from patchword.models.heads import NextTokenHead
from patchword.models.llama_layers import Llama, LlamaConfig
from patchword.models.rotation import ROTATION
from patchword.models.weights import Names, Rows, heads_rows

GATED: Names = {
    "decoder.layers.{i}.feedforward.up.weight": Rows(
        ("layers.{i}.mlp.gate_proj.weight", "layers.{i}.mlp.up_proj.weight")
    ),
    "decoder.layers.{i}.feedforward.down.weight": "layers.{i}.mlp.down_proj.weight",
}
"""The weights of a `GatedFeedForward`."""


# How a product was cut by old versions; windows of layers that none has where `use_sliding_window` is false.
UNREAD = frozenset({"pretraining_tp", "max_window_layers"})


def _kv_heads(raw: ConfigFile, unsaid: int | None) -> int | None:
    heads = raw.whole("num_key_value_heads") if "num_key_value_heads" in raw else unsaid
    return raw.whole("num_attention_heads") if heads is None else heads


def llama_like(
    model_type: str,
    name: str,
    *,
    config: type[LlamaConfig],
    trunk: type[Llama],
    presets: Mapping[str, LlamaConfig],
    tokenizer: TokenizerStyle,
    recipe: str = "",
    begin: Callable[[Any, Any], None] = Family.begin,
    config_names: Mapping[str, str | Key] | None = None,
    required: Mapping[str, Any] | None = None,
    weight_names: Names = GATED,
    span_prefix: str | None = None,
    kv_heads: int | None = None,
    aliases: Mapping[str, str] | None = None,
    check: Callable[[ConfigFile], None] = causal_only,
) -> Family:
    """A family whose files are called as Llama's are.

    Args:
        model_type, config, trunk, presets, tokenizer, recipe, begin, required, aliases, check: as in `Family`.
        name: what its classes begin with ("Llama").
        config_names: of the fields that Llama has not, or has otherwise.
        weight_names: of the feed-forward part, and of what Llama has not.
        span_prefix: what the trunk is called beside a span head, where that is not "model.".
        kv_heads: where `config.json` does not say; as many as `heads` where None.
    """
    return Family(
        model_type=model_type,
        modality="text",
        config=config,
        trunk=trunk,
        prefix="model.",
        config_names={
            **TRANSFORMER_NAMES,
            **GENERATIVE_NAMES,
            "kv_heads": Key(partial(_kv_heads, unsaid=kv_heads), lambda heads: {"num_key_value_heads": heads}),
            "head_size": "head_dim",
            "norm_eps": "rms_norm_eps",
            # The only dropout besides that of the attention that transformers knows here: before the scores of a token.
            "dropout": "hidden_dropout",
            "attention_dropout": "attention_dropout",
            **ROTATION,
            **(config_names or {}),
        },
        required=required or {},
        check=check,
        aliases=aliases or {},
        unread=UNREAD,
        weight_names={
            "embed.words.weight": "embed_tokens.weight",
            "decoder.layers.{i}.attention_norm.weight": "layers.{i}.input_layernorm.weight",
            "decoder.layers.{i}.attention.qkv.weight": Rows(
                tuple(f"layers.{{i}}.self_attn.{part}_proj.weight" for part in "qkv"), sizes=heads_rows
            ),
            "decoder.layers.{i}.attention.out.weight": "layers.{i}.self_attn.o_proj.weight",
            "decoder.layers.{i}.feedforward_norm.weight": "layers.{i}.post_attention_layernorm.weight",
            "decoder.norm.weight": "norm.weight",
            **weight_names,
        },
        ways_out={
            "features": ways_out.features(f"{name}Model"),
            "next_token": WayOut(
                f"{name}ForCausalLM",
                lambda config, trunk, classes: NextTokenHead(
                    config.width, config.vocab_size, words=trunk.embed.words if config.tied else None
                ),
                {"scores.weight": "/lm_head.weight"},
            ),
            "class": ways_out.last_token_class(f"{name}ForSequenceClassification"),
            "token_class": ways_out.token_class(f"{name}ForTokenClassification", scores="/score"),
            "span": ways_out.span(f"{name}ForQuestionAnswering", prefix=span_prefix),
        },
        presets=presets,
        recipe=recipe,
        begin=begin,
        # A constant that old versions of transformers wrote among the weights.
        ignored=(".rotary_emb.inv_freq",),
        objective="causal-lm",
        tokenizer=tokenizer,
    )


SENTENCEPIECE = TokenizerStyle("unigram", special={"unk": "<unk>", "bos": "<s>", "eos": "</s>"}, before=("bos",))
"""Pieces of text with bytes for rare letters; a text begins with <s>."""
