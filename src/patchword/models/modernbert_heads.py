"""Ways out of a ModernBERT: all but the bare one begin with a dense layer, GELU and a norm."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import nn

from patchword.models import ways_out
from patchword.models.family import WayOut
from patchword.models.heads import ClassHead, FirstToken, MaskedTokenHead, MeanToken, SpanHead, TokenClassHead
from patchword.models.modernbert_names import BEFORE, POOLED, SCORES, TRANSFORM

if TYPE_CHECKING:
    from patchword.models.modernbert import ModernBert, ModernBertConfig

POOLING = {"cls": FirstToken, "mean": MeanToken}


def _transform(config: ModernBertConfig, *pool: tuple[str, nn.Module]) -> nn.Module:
    """norm(GELU(W x)), what all heads begin with; after a pooling where there is one."""
    norm = nn.LayerNorm(config.width, eps=config.norm_eps, bias=False)
    dense = nn.Linear(config.width, config.width, bias=False)
    return nn.Sequential(OrderedDict([*pool, ("dense", dense), ("activation", nn.GELU()), ("norm", norm)]))


def _masked_token(config: ModernBertConfig, trunk: ModernBert, classes: int) -> MaskedTokenHead:
    norm = nn.LayerNorm(config.width, eps=config.norm_eps, bias=False)
    words = trunk.embed.words if config.tied else None
    return MaskedTokenHead(config.width, config.vocab_size, words=words, activation="gelu", norm=norm, bias=False)


def _class(config: ModernBertConfig, trunk: ModernBert, classes: int) -> ClassHead:
    pool = _transform(config, ("token", POOLING[config.pooling]()))
    return ClassHead(config.width, classes, pool=pool, dropout=config.class_dropout)


def _token_class(config: ModernBertConfig, trunk: ModernBert, classes: int) -> TokenClassHead:
    return TokenClassHead(config.width, classes, dropout=config.class_dropout, before=_transform(config))


def _span(config: ModernBertConfig, trunk: ModernBert, classes: int) -> SpanHead:
    return SpanHead(config.width, dropout=config.class_dropout, before=_transform(config))


WAYS_OUT: Mapping[str, WayOut] = {
    "features": ways_out.features("ModernBertModel"),
    "masked_token": WayOut("ModernBertForMaskedLM", _masked_token, {**TRANSFORM, **SCORES}),
    "class": WayOut("ModernBertForSequenceClassification", _class, POOLED),
    "token_class": WayOut("ModernBertForTokenClassification", _token_class, BEFORE),
    "span": WayOut("ModernBertForQuestionAnswering", _span, BEFORE),
}
