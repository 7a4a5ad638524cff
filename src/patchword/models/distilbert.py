"""DistilBERT: half of BERT's layers, taught by BERT (Sanh et al. 2019, section 3).

BERT's layers; no segments, and no layer over the first token in the trunk. A class is read from the first token, [CLS],
through a ReLU layer of the head's own.
"""

from __future__ import annotations

from pydantic import Field
from torch import nn

from patchword.models import bert, ways_out
from patchword.models.config import TEXT_NAMES, TextConfig
from patchword.models.family import Family, WayOut
from patchword.models.heads import ClassHead, Pooler
from patchword.models.stems import WordEmbedding
from patchword.models.weights import Rows, weights_and_biases
from patchword.nn.config import Count, Positive, Probability
from patchword.nn.packing import Packed
from patchword.nn.positions import LearnedPositions

EPS = 1e-12


class DistilBertConfig(TextConfig):
    """Sizes of a DistilBERT."""

    vocab_size: Positive = 30522
    width: Positive = 768
    depth: Count = 6
    heads: Positive = 12
    hidden: Positive = 3072
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
        **TEXT_NAMES,
    },
    required={},
    aliases={"hidden_size": "dim", "num_attention_heads": "n_heads", "num_hidden_layers": "n_layers"},
    # Positions are read from the weights, however they began.
    unread=frozenset({"sinusoidal_pos_embds", "tie_weights_"}),
    weight_names={
        "embed.words.weight": "embeddings.word_embeddings.weight",
        "embed.positions.weight": "embeddings.position_embeddings.weight",
        **weights_and_biases({"embed.norm": "embeddings.LayerNorm"}),
        **weights_and_biases(
            {
                "attention.qkv": Rows(tuple(f"attention.{part}_lin" for part in "qkv")),
                "attention.out": "attention.out_lin",
                "attention_norm": "sa_layer_norm",
                "feedforward.up": "ffn.lin1",
                "feedforward.down": "ffn.lin2",
                "feedforward_norm": "output_layer_norm",
            },
            "encoder.layers.{i}.",
            "transformer.layer.{i}.",
        ),
    },
    ways_out={
        "features": ways_out.features("DistilBertModel"),
        "masked_token": ways_out.masked_token(
            "DistilBertForMaskedLM",
            dense="/vocab_transform",
            norm="/vocab_layer_norm",
            scores={"weight": "/vocab_projector.weight", "bias": "/vocab_projector.bias"},
        ),
        "class": WayOut(
            "DistilBertForSequenceClassification",
            _class,
            weights_and_biases({"pool.dense": "/pre_classifier", "scores": "/classifier"}),
        ),
        "token_class": ways_out.token_class("DistilBertForTokenClassification"),
        "span": ways_out.span("DistilBertForQuestionAnswering", dropout=lambda config: config.span_dropout),
    },
    ignored=bert.FAMILY.ignored,
    presets={"distilbert-base": DistilBertConfig(depth=6, width=768, heads=12, hidden=3072)},
    tokenizer=bert.FAMILY.tokenizer,
)
