"""Llama: a decoder that reads more and has less (Touvron et al. 2023, section 2.2; Llama 2, 3: tables 1 and 3).

Pre-norm layers with RMSNorm and no biases, rotary positions, a gated feed-forward with SiLU; keys and values can be
shared by several heads. Mistral, Mixtral and Qwen3 are the same in all but a few parts: `llama_like` makes them too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from pydantic import Field
from torch import nn

from patchword.data.tokenizers import TokenizerStyle
from patchword.models.config import GenerativeConfig
from patchword.models.family import Family, Key, WayOut
from patchword.models.heads import ClassHead, Features, LastToken, NextTokenHead, SpanHead, TokenClassHead
from patchword.models.stems import WordEmbedding
from patchword.models.trunks import Decoder
from patchword.models.weights import Names, Rows, heads_rows
from patchword.nn.attention import CAUSAL, Mask, SelfAttention
from patchword.nn.block import Block, pre_norm
from patchword.nn.config import Positive, Probability
from patchword.nn.feedforward import GatedFeedForward
from patchword.nn.norm import RMSNorm
from patchword.nn.positions import Rotary, Scaling
from patchword.nn.transformer import Transformer


class LlamaConfig(GenerativeConfig):
    """Sizes of a Llama."""

    kv_heads: Positive
    vocab_size: Positive = 32000
    max_length: Positive = 2048
    activation: str = "silu"
    norm_eps: float = Field(1e-6, gt=0.0)
    dropout: Probability = 0.0
    attention_dropout: Probability = 0.0
    bos_token_id: int | None = 1
    eos_token_id: int | tuple[int, ...] | None = 2
    tied: bool = False
    rotary_base: float = Field(10000.0, gt=0.0)
    """The slowest pair of a head turns by about 1 / rotary_base a token."""
    rotary_scaling: Scaling | None = None
    """Slows the turning for texts longer than those of pretraining."""


def gated(config: LlamaConfig) -> nn.Module:
    """The feed-forward part of a layer."""
    return GatedFeedForward(config.width, config.hidden, activation=config.activation, bias=False)


class Llama(Decoder):
    """Words from left to right; a position is an angle.

    Args:
        config: the sizes.
        mask: which words a word sees.
        head_norm: makes a norm of each head's queries and keys; none where None.
        feedforward: makes the feed-forward part of a layer.
    """

    def __init__(
        self,
        config: LlamaConfig,
        *,
        mask: Mask = CAUSAL,
        head_norm: Callable[[int], nn.Module] | None = None,
        feedforward: Callable[[Any], nn.Module] = gated,
    ) -> None:
        norm = partial(RMSNorm, config.width, eps=config.norm_eps)
        super().__init__(
            WordEmbedding(nn.Embedding(config.vocab_size, config.width), dropout=config.dropout),
            Transformer(
                config.depth,
                lambda layer: Block(
                    attention=SelfAttention(
                        config.width,
                        config.heads,
                        kv_heads=config.kv_heads,
                        head_width=config.head_width,
                        mask=mask,
                        positions=Rotary(config.head_width, config.rotary_base, config.rotary_scaling),
                        norm=head_norm,
                        bias=False,
                        dropout=config.attention_dropout,
                    ),
                    feedforward=feedforward(config),
                    norm=norm,
                    order=pre_norm,
                    dropout=config.dropout,
                ),
                norm,
            ),
            config.max_length,
        )


def _rope(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `config.json` says of the rotation: transformers 5 has it in one place, transformers 4 in two."""
    return raw.get("rope_parameters") or raw.get("rope_scaling") or {}


def _rotary_base(raw: Mapping[str, Any]) -> Any:
    return _rope(raw).get("rope_theta") or raw.get("rope_theta")


def _scaling(raw: Mapping[str, Any]) -> Scaling | None:
    rope = _rope(raw)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if (rope.get("partial_rotary_factor") or raw.get("partial_rotary_factor") or 1.0) != 1.0:
        raise ValueError("partial_rotary_factor is not 1; only heads that are turned as a whole are supported")
    try:
        match kind:
            case "default":
                return None
            case "linear":
                return Scaling(rope["factor"])
            case "llama3":
                original = rope["original_max_position_embeddings"]
                return Scaling(rope["factor"], original, rope["low_freq_factor"], rope["high_freq_factor"])
    except KeyError as error:
        raise ValueError(f"rope type '{kind}' needs {error}, which is not there") from error
    raise ValueError(f"rope type '{kind}' is not supported; supported are default, linear and llama3")


def _scaling_json(scaling: Scaling | None) -> dict[str, Any]:
    """As transformers 4 writes it, which 5 reads too."""
    if scaling is None:
        return {"rope_scaling": None}
    if scaling.original is None:
        return {"rope_scaling": {"rope_type": "linear", "factor": scaling.factor}}
    return {
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low,
            "high_freq_factor": scaling.high,
            "original_max_position_embeddings": scaling.original,
        }
    }


GATED: Names = {
    "decoder.layers.{i}.feedforward.up.weight": Rows(
        ("layers.{i}.mlp.gate_proj.weight", "layers.{i}.mlp.up_proj.weight")
    ),
    "decoder.layers.{i}.feedforward.down.weight": "layers.{i}.mlp.down_proj.weight",
}
"""The weights of a `GatedFeedForward`."""


def llama_like(
    model_type: str,
    name: str,
    *,
    config: type[LlamaConfig],
    trunk: Callable[[Any], nn.Module],
    presets: Mapping[str, LlamaConfig],
    tokenizer: TokenizerStyle,
    config_names: Mapping[str, str | Key] | None = None,
    required: Mapping[str, Any] | None = None,
    weight_names: Names = GATED,
    span_prefix: str | None = None,
) -> Family:
    """A family whose files are called as Llama's are.

    Args:
        model_type, config, trunk, presets, tokenizer, required: as in `Family`.
        name: what its classes begin with ("Llama").
        config_names: of the fields that Llama has not, or has otherwise.
        weight_names: of the feed-forward part, and of what Llama has not.
        span_prefix: what the trunk is called beside a span head, where that is not "model.".
    """
    return Family(
        model_type=model_type,
        modality="text",
        config=config,
        trunk=trunk,
        prefix="model.",
        config_names={
            "width": "hidden_size",
            "depth": "num_hidden_layers",
            "heads": "num_attention_heads",
            "kv_heads": Key(
                lambda raw: raw.get("num_key_value_heads") or raw.get("num_attention_heads"),
                lambda heads: {"num_key_value_heads": heads},
            ),
            "head_size": "head_dim",
            "hidden": "intermediate_size",
            "activation": "hidden_act",
            "norm_eps": "rms_norm_eps",
            # The only dropout besides that of the attention that transformers knows here: before the scores of a token.
            "dropout": "hidden_dropout",
            "attention_dropout": "attention_dropout",
            "init_std": "initializer_range",
            "vocab_size": "vocab_size",
            "max_length": "max_position_embeddings",
            "pad_token_id": "pad_token_id",
            "bos_token_id": "bos_token_id",
            "eos_token_id": "eos_token_id",
            "tied": "tie_word_embeddings",
            "rotary_base": Key(_rotary_base, lambda base: {"rope_theta": base}),
            "rotary_scaling": Key(_scaling, _scaling_json),
            **(config_names or {}),
        },
        required=required or {},
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
            "features": WayOut(f"{name}Model", lambda config, trunk, classes: Features(), bare=True),
            "next_token": WayOut(
                f"{name}ForCausalLM",
                lambda config, trunk, classes: NextTokenHead(
                    config.width, config.vocab_size, words=trunk.embed.words if config.tied else None
                ),
                {"scores.weight": "/lm_head.weight"},
            ),
            "class": WayOut(
                f"{name}ForSequenceClassification",
                lambda config, trunk, classes: ClassHead(config.width, classes, pool=LastToken(), bias=False),
                {"scores.weight": "/score.weight"},
            ),
            "token_class": WayOut(
                f"{name}ForTokenClassification",
                lambda config, trunk, classes: TokenClassHead(config.width, classes, dropout=config.dropout),
                {"scores.weight": "/score.weight", "scores.bias": "/score.bias"},
            ),
            "span": WayOut(
                f"{name}ForQuestionAnswering",
                lambda config, trunk, classes: SpanHead(config.width),
                {"scores.weight": "/qa_outputs.weight", "scores.bias": "/qa_outputs.bias"},
                prefix=span_prefix,
            ),
        },
        presets=presets,
        # A constant that old versions of transformers wrote among the weights.
        ignored=(".rotary_emb.inv_freq",),
        tokenizer=tokenizer,
    )


SENTENCEPIECE = TokenizerStyle("unigram", special={"unk": "<unk>", "bos": "<s>", "eos": "</s>"}, before=("bos",))
"""Pieces of text with bytes for rare letters; a text begins with <s>."""


def _one(depth: int, width: int, heads: int, hidden: int) -> LlamaConfig:
    """Touvron et al. 2023, table 2."""
    return LlamaConfig(depth=depth, width=width, heads=heads, kv_heads=heads, hidden=hidden)


def _two(depth: int, width: int, heads: int, hidden: int, kv_heads: int | None = None) -> LlamaConfig:
    """Llama 2 (Touvron et al. 2023b, table 1)."""
    return LlamaConfig(
        depth=depth,
        width=width,
        heads=heads,
        kv_heads=kv_heads or heads,
        hidden=hidden,
        max_length=4096,
        norm_eps=1e-5,
    )


def _three(depth: int, width: int, heads: int, hidden: int, **more: Any) -> LlamaConfig:
    """Llama 3 (Grattafiori et al. 2024, table 3)."""
    sizes = {"vocab_size": 128256, "max_length": 8192, "norm_eps": 1e-5, "rotary_base": 500000.0, "kv_heads": 8}
    ends = {"bos_token_id": 128000, "eos_token_id": 128001}
    return LlamaConfig(**{**sizes, **ends, "depth": depth, "width": width, "heads": heads, "hidden": hidden, **more})


_LONG = {"tied": True, "max_length": 131072, "rotary_scaling": Scaling(32.0, 8192, 1.0, 4.0)}


def _small(depth: int, width: int) -> LlamaConfig:
    """To pretrain on one machine: heads of 64, a gated part with as many weights as one of 4 x width without gates."""
    hidden = -(-8 * width // (3 * 64)) * 64
    return LlamaConfig(depth=depth, width=width, heads=width // 64, kv_heads=width // 64, hidden=hidden, tied=True)


FAMILY = llama_like(
    "llama",
    "Llama",
    config=LlamaConfig,
    trunk=Llama,
    required={"attention_bias": False, "mlp_bias": False},
    span_prefix="transformer.",
    tokenizer=SENTENCEPIECE,
    presets={
        "llama-7b": _one(32, 4096, 32, 11008),
        "llama-13b": _one(40, 5120, 40, 13824),
        "llama-33b": _one(60, 6656, 52, 17920),
        "llama-65b": _one(80, 8192, 64, 22016),
        "llama2-7b": _two(32, 4096, 32, 11008),
        "llama2-13b": _two(40, 5120, 40, 13824),
        "llama2-70b": _two(80, 8192, 64, 28672, kv_heads=8),
        "llama3-8b": _three(32, 4096, 32, 14336),
        "llama3-70b": _three(80, 8192, 64, 28672),
        "llama3.2-1b": _three(16, 2048, 32, 8192, **_LONG),
        "llama3.2-3b": _three(28, 3072, 24, 8192, **_LONG),
        "llama-tiny": _small(2, 128),
        "llama-mini": _small(4, 256),
        "llama-small": _small(8, 512),
    },
)
