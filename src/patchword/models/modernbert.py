"""ModernBERT: an encoder with what decoders have learnt since (Warner et al. 2024, section 2.1).

Pre-norm layers without biases, the first without a norm of its own, as the embeddings have just had one; rotary
positions; GeGLU. Every third layer looks at the whole sequence, the others at 64 tokens to each side, and these turn
faster with the position. All ways out but the bare one begin with a dense layer, GELU and a norm.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import Any, Literal

from pydantic import Field
from torch import nn

from patchword.data.tokenizers import TokenizerStyle
from patchword.models import ways_out
from patchword.models.config import TextConfig
from patchword.models.family import Family, WayOut
from patchword.models.heads import ClassHead, FirstToken, MaskedTokenHead, MeanToken, SpanHead, TokenClassHead
from patchword.models.modernbert_names import BEFORE, CONFIG_NAMES, POOLED, REQUIRED, TRANSFORM, WEIGHT_NAMES
from patchword.models.stems import WordEmbedding
from patchword.nn.attention import BIDIRECTIONAL, Mask, SelfAttention
from patchword.nn.block import Block, pre_norm
from patchword.nn.config import Positive, Probability
from patchword.nn.feedforward import GatedFeedForward
from patchword.nn.packing import Packed
from patchword.nn.positions import Rotary
from patchword.nn.transformer import Transformer, initialise_residual

POOLING = {"cls": FirstToken, "mean": MeanToken}


class ModernBertConfig(TextConfig):
    """Sizes of a ModernBERT."""

    vocab_size: Positive = 50368
    max_length: Positive = 8192
    norm_eps: float = Field(1e-5, gt=0.0)
    dropout: Probability = 0.0
    """On the embeddings and inside the feed-forward part, while training."""
    attention_dropout: Probability = 0.0
    class_dropout: Probability = 0.0
    """Before the scores of classes, while training."""
    global_every: Positive = 3
    """Layers 0, `global_every`, 2 x `global_every`, ... look at the whole sequence."""
    window: Positive = 64
    """How many tokens to each side the others look at."""
    global_base: float = Field(160_000.0, gt=0.0)
    """Of the rotary positions (`Rotary`) in layers that look at the whole sequence."""
    local_base: float = Field(10_000.0, gt=0.0)
    """The same in the others."""
    pooling: Literal["cls", "mean"] = "cls"
    """What a class is read from: the first token, or the mean of all."""
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    cls_token_id: int | None = None
    sep_token_id: int | None = None
    """Ids that `config.json` keeps beside the tokenizer's; where it has none, transformers takes the published ones."""


class ModernBert(nn.Module):
    """Words in both directions, near and far by turns, norm before each sub-layer."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        norm = partial(nn.LayerNorm, config.width, eps=config.norm_eps, bias=False)
        self.embed = WordEmbedding(nn.Embedding(config.vocab_size, config.width), norm=norm(), dropout=config.dropout)
        near = Mask(window=config.window), Rotary(config.head_width, config.local_base)
        far = BIDIRECTIONAL, Rotary(config.head_width, config.global_base)

        attention: dict[str, Any] = {"bias": False, "dropout": config.attention_dropout}
        gates: dict[str, Any] = {"activation": config.activation, "bias": False, "dropout": config.dropout}

        def block(layer: int) -> Block:
            mask, positions = near if layer % config.global_every else far
            return Block(
                attention=SelfAttention(config.width, config.heads, mask=mask, positions=positions, **attention),
                feedforward=GatedFeedForward(config.width, config.hidden, **gates),
                norm=norm,
                order=pre_norm,
                first_norm=None if layer else nn.Identity(),
            )

        self.encoder = Transformer(config.depth, block, norm)

    def forward(self, tokens: Packed) -> Packed:
        """Token ids `[T]` -> `[T, width]`."""
        hidden: Packed = self.encoder(self.embed(tokens))
        return hidden


def _transform(config: ModernBertConfig, *pool: tuple[str, nn.Module]) -> nn.Module:
    """norm(GELU(W x)), what all heads begin with; after a pooling where there is one."""
    norm = nn.LayerNorm(config.width, eps=config.norm_eps, bias=False)
    dense = nn.Linear(config.width, config.width, bias=False)
    return nn.Sequential(OrderedDict([*pool, ("dense", dense), ("activation", nn.GELU()), ("norm", norm)]))


def _masked_token(config: ModernBertConfig, trunk: ModernBert, classes: int) -> MaskedTokenHead:
    norm = nn.LayerNorm(config.width, eps=config.norm_eps, bias=False)
    return MaskedTokenHead(trunk.embed.words, activation="gelu", norm=norm, bias=False)


def _class(config: ModernBertConfig, trunk: ModernBert, classes: int) -> ClassHead:
    pool = _transform(config, ("token", POOLING[config.pooling]()))
    return ClassHead(config.width, classes, pool=pool, dropout=config.class_dropout)


def _token_class(config: ModernBertConfig, trunk: ModernBert, classes: int) -> TokenClassHead:
    return TokenClassHead(config.width, classes, dropout=config.class_dropout, before=_transform(config))


def _span(config: ModernBertConfig, trunk: ModernBert, classes: int) -> SpanHead:
    return SpanHead(config.width, dropout=config.class_dropout, before=_transform(config))


def _sizes(depth: int, width: int, hidden: int) -> ModernBertConfig:
    sizes = {"depth": depth, "width": width, "heads": width // 64, "hidden": hidden}
    return ModernBertConfig(**sizes, pad_token_id=50283, pooling="mean")


FAMILY = Family(
    model_type="modernbert",
    modality="text",
    config=ModernBertConfig,
    trunk=ModernBert,
    prefix="model.",
    config_names=CONFIG_NAMES,
    required=REQUIRED,
    weight_names=WEIGHT_NAMES,
    ways_out={
        "features": ways_out.features("ModernBertModel"),
        "masked_token": WayOut("ModernBertForMaskedLM", _masked_token, {**TRANSFORM, "scores.bias": "/decoder.bias"}),
        "class": WayOut("ModernBertForSequenceClassification", _class, POOLED),
        "token_class": WayOut("ModernBertForTokenClassification", _token_class, BEFORE),
        "span": WayOut("ModernBertForQuestionAnswering", _span, BEFORE),
    },
    begin=lambda model, config: initialise_residual(model, config.init_std, config.depth),
    presets={"modernbert-base": _sizes(22, 768, 1152), "modernbert-large": _sizes(28, 1024, 2624)},
    tokenizer=TokenizerStyle(
        "bpe",
        special={"unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "pad": "[PAD]", "mask": "[MASK]"},
        before=("cls",),
        after=("sep",),
    ),
)
