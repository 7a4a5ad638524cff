"""DistilBERT: half of BERT's layers, taught by BERT (Sanh et al. 2019, section 3).

BERT's layers; no segments, and no layer over the first token in the trunk. A class is read from the first token, [CLS],
through a ReLU layer of the head's own.
"""

from __future__ import annotations

from pydantic import Field
from torch import nn

from patchword.models import bert
from patchword.models.config import TextConfig
from patchword.models.family import Family, WayOut
from patchword.models.heads import ClassHead, Features, MaskedTokenHead, Pooler, SpanHead, TokenClassHead
from patchword.models.stems import WordEmbedding
from patchword.models.weights import Rows
from patchword.nn.config import Positive, Probability
from patchword.nn.packing import Packed
from patchword.nn.positions import LearnedPositions

EPS = 1e-12


class DistilBertConfig(TextConfig):
    """Sizes of a DistilBERT."""

    vocab_size: Positive = 30522
    norm_eps: float = Field(EPS, ge=EPS, le=EPS)
    """`config.json` has no key for it, so it is no choice."""
    class_dropout: Probability = 0.2
    """Before the scores of a text's classes, while training."""
    span_dropout: Probability = 0.1
    """Before the scores of an answer's ends, while training."""


class DistilBert(nn.Module):
    """BERT's layers over words and positions."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.embed = WordEmbedding(
            nn.Embedding(config.vocab_size, config.width),
            positions=LearnedPositions(config.max_length, config.width),
            norm=nn.LayerNorm(config.width, eps=config.norm_eps),
            dropout=config.dropout,
        )
        self.encoder = bert.layers(config)

    def forward(self, tokens: Packed) -> Packed:
        """Token ids `[T]` -> `[T, width]`."""
        hidden: Packed = self.encoder(self.embed(tokens))
        return hidden


def _masked_token(config: DistilBertConfig, trunk: DistilBert, classes: int) -> MaskedTokenHead:
    return MaskedTokenHead(
        trunk.embed.words, activation=config.activation, norm=nn.LayerNorm(config.width, eps=config.norm_eps)
    )


def _class(config: DistilBertConfig, trunk: DistilBert, classes: int) -> ClassHead:
    pool = Pooler(config.width, activation="relu")
    return ClassHead(config.width, classes, pool=pool, dropout=config.class_dropout)


FAMILY = Family(
    model_type="distilbert",
    modality="text",
    config=DistilBertConfig,
    trunk=DistilBert,
    prefix="distilbert.",
    config_names={
        "width": "dim",
        "depth": "n_layers",
        "heads": "n_heads",
        "hidden": "hidden_dim",
        "activation": "activation",
        "dropout": "dropout",
        "attention_dropout": "attention_dropout",
        "class_dropout": "seq_classif_dropout",
        "span_dropout": "qa_dropout",
        "init_std": "initializer_range",
        "vocab_size": "vocab_size",
        "max_length": "max_position_embeddings",
        "pad_token_id": "pad_token_id",
    },
    required={"tie_word_embeddings": True},
    weight_names={
        "embed.words.weight": "embeddings.word_embeddings.weight",
        "embed.positions.weight": "embeddings.position_embeddings.weight",
        "embed.norm.weight": "embeddings.LayerNorm.weight",
        "embed.norm.bias": "embeddings.LayerNorm.bias",
        **{
            f"encoder.layers.{{i}}.attention.qkv.{kind}": Rows(
                tuple(f"transformer.layer.{{i}}.attention.{part}_lin.{kind}" for part in "qkv")
            )
            for kind in ("weight", "bias")
        },
        **{
            f"encoder.layers.{{i}}.{ours}.{kind}": f"transformer.layer.{{i}}.{theirs}.{kind}"
            for ours, theirs in {
                "attention.out": "attention.out_lin",
                "attention_norm": "sa_layer_norm",
                "feedforward.up": "ffn.lin1",
                "feedforward.down": "ffn.lin2",
                "feedforward_norm": "output_layer_norm",
            }.items()
            for kind in ("weight", "bias")
        },
    },
    ways_out={
        "features": WayOut("DistilBertModel", lambda config, trunk, classes: Features(), bare=True),
        "masked_token": WayOut(
            "DistilBertForMaskedLM",
            _masked_token,
            {
                "dense.weight": "/vocab_transform.weight",
                "dense.bias": "/vocab_transform.bias",
                "norm.weight": "/vocab_layer_norm.weight",
                "norm.bias": "/vocab_layer_norm.bias",
                "scores.bias": "/vocab_projector.bias",
            },
        ),
        "class": WayOut(
            "DistilBertForSequenceClassification",
            _class,
            {
                "pool.dense.weight": "/pre_classifier.weight",
                "pool.dense.bias": "/pre_classifier.bias",
                "scores.weight": "/classifier.weight",
                "scores.bias": "/classifier.bias",
            },
        ),
        "token_class": WayOut(
            "DistilBertForTokenClassification",
            lambda config, trunk, classes: TokenClassHead(config.width, classes, dropout=config.dropout),
            {"scores.weight": "/classifier.weight", "scores.bias": "/classifier.bias"},
        ),
        "span": WayOut(
            "DistilBertForQuestionAnswering",
            lambda config, trunk, classes: SpanHead(config.width, dropout=config.span_dropout),
            {"scores.weight": "/qa_outputs.weight", "scores.bias": "/qa_outputs.bias"},
        ),
    },
    ignored=bert.FAMILY.ignored,
    presets={"distilbert-base": DistilBertConfig(depth=6, width=768, heads=12, hidden=3072)},
    tokenizer=bert.FAMILY.tokenizer,
)
