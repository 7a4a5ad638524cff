"""Ways out that many families have: the usual heads, under the names that files usually have for them.

Every function takes the class of transformers that is trunk and head together first ("BertForTokenClassification").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from patchword.models.family import WayOut
from patchword.models.heads import ClassHead, Features, LastToken, MaskedTokenHead, Pooler, SpanHead, TokenClassHead
from patchword.models.weights import Names, weights_and_biases, with_prefix

Rate = Callable[[Any], float]
"""Of a dropout, by the config."""


def features(architecture: str) -> WayOut:
    """The trunk's vectors as they are."""
    return WayOut(architecture, lambda config, trunk, classes: Features(), bare=True)


def pooled_features(architecture: str) -> WayOut:
    """A tanh layer over the first token, which belongs to the trunk in files."""
    names = weights_and_biases({"dense": "pooler.dense"})
    return WayOut(architecture, lambda config, trunk, classes: Pooler(config.width), names, bare=True)


def masked_token(architecture: str, *, dense: str, norm: str, scores: Names, activation: str | None = None) -> WayOut:
    """Scores of the words under a mask (`MaskedTokenHead`) with a LayerNorm.

    Args:
        architecture: of transformers.
        dense, norm: what its parts are called in files.
        scores: the same of the words' matrix, for files in which it is not tied, and of the biases.
        activation: a name in `ACTIVATIONS`; that of the layers where None.
    """

    def build(config: Any, trunk: Any, classes: int) -> MaskedTokenHead:
        return MaskedTokenHead(
            config.width,
            config.vocab_size,
            words=trunk.embed.words if config.tied else None,
            activation=activation or config.activation,
            norm=nn.LayerNorm(config.width, eps=config.norm_eps),
        )

    parts = weights_and_biases({"dense": dense, "norm": norm})
    return WayOut(architecture, build, {**parts, **with_prefix(scores, "scores.", "")})


def last_token_class(architecture: str) -> WayOut:
    """Scores of classes from the last token of each sequence that is no padding token, without biases."""

    def build(config: Any, trunk: Any, classes: int) -> ClassHead:
        return ClassHead(config.width, classes, pool=LastToken(config.pad_token_id), bias=False)

    return WayOut(architecture, build, {"scores.weight": "/score.weight"})


def token_class(architecture: str, *, scores: str = "/classifier") -> WayOut:
    """Scores of classes for each token.

    Args:
        architecture: of transformers.
        scores: what the layer of the scores is called in files.
    """
    return WayOut(
        architecture,
        lambda config, trunk, classes: TokenClassHead(config.width, classes, dropout=config.dropout),
        weights_and_biases({"scores": scores}),
    )


def span(architecture: str, *, dropout: Rate = lambda config: 0.0, prefix: str | None = None) -> WayOut:
    """Scores of an answer's beginning and end.

    Args:
        architecture: of transformers.
        dropout: before the scores, while training.
        prefix: as in `WayOut`.
    """
    return WayOut(
        architecture,
        lambda config, trunk, classes: SpanHead(config.width, dropout=dropout(config)),
        weights_and_biases({"scores": "/qa_outputs"}),
        prefix=prefix,
    )
