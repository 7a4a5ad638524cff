"""BERT: words in both directions (Devlin et al. 2018); the small ones are Turc et al. 2019, table 1.

Post-norm layers with biases and GELU; learned positions and segments, a norm on the embeddings; the word table is
also the masked-word scores. A class is read from the first token, [CLS], through a tanh layer.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from patchword.data.tokenizers import TokenizerStyle
from patchword.models import ways_out
from patchword.models.config import TEXT_NAMES, TRANSFORMER_NAMES, TextConfig
from patchword.models.family import Family, WayOut
from patchword.models.heads import ClassHead, Pooler
from patchword.models.stems import SegmentedEmbedding
from patchword.models.weights import Rows, Twice, weights_and_biases
from patchword.nn.attention import SelfAttention
from patchword.nn.block import Block, post_norm
from patchword.nn.config import Count, Positive
from patchword.nn.feedforward import FeedForward
from patchword.nn.packing import Packed
from patchword.nn.positions import LearnedPositions
from patchword.nn.transformer import Transformer


class BertConfig(TextConfig):
    """Sizes of a BERT."""

    vocab_size: Positive = 30522
    width: Positive = 768
    depth: Count = 12
    heads: Positive = 12
    hidden: Positive = 3072
    segments: Positive = 2


def layers(config: TextConfig) -> Transformer:
    """Layers that see in both directions, norm after each sub-layer (section 3.1)."""
    return Transformer(
        config.depth,
        lambda layer: Block(
            attention=SelfAttention(config.width, config.heads, dropout=config.attention_dropout),
            feedforward=FeedForward(config.width, config.hidden, activation=config.activation),
            norm=partial(nn.LayerNorm, config.width, eps=config.norm_eps),
            order=post_norm,
            dropout=config.dropout,
        ),
    )


class Bert(nn.Module):
    """Words in both directions, norm after each sub-layer (Devlin et al. 2018, section 3.1)."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.embed = SegmentedEmbedding(
            nn.Embedding(config.vocab_size, config.width),
            segments=config.segments,
            positions=LearnedPositions(config.max_length, config.width),
            norm=nn.LayerNorm(config.width, eps=config.norm_eps),
            dropout=config.dropout,
        )
        self.encoder = layers(config)

    def forward(self, tokens: Packed) -> Packed:
        """Token ids `[T]` (and their segments) -> `[T, width]`."""
        hidden: Packed = self.encoder(self.embed(tokens))
        return hidden


def _sizes(depth: int, width: int) -> BertConfig:
    return BertConfig(depth=depth, width=width, heads=width // 64, hidden=4 * width)


FAMILY = Family(
    model_type="bert",
    modality="text",
    config=BertConfig,
    trunk=Bert,
    prefix="bert.",
    config_names={**TRANSFORMER_NAMES, **TEXT_NAMES, "segments": "type_vocab_size"},
    required={
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
    },
    weight_names={
        "embed.words.weight": "embeddings.word_embeddings.weight",
        "embed.positions.weight": "embeddings.position_embeddings.weight",
        "embed.segments.weight": "embeddings.token_type_embeddings.weight",
        **weights_and_biases({"embed.norm": "embeddings.LayerNorm"}),
        **weights_and_biases(
            {
                "attention.qkv": Rows(tuple(f"attention.self.{part}" for part in ("query", "key", "value"))),
                "attention.out": "attention.output.dense",
                "attention_norm": "attention.output.LayerNorm",
                "feedforward.up": "intermediate.dense",
                "feedforward.down": "output.dense",
                "feedforward_norm": "output.LayerNorm",
            },
            "encoder.layers.{i}.",
            "encoder.layer.{i}.",
        ),
    },
    ways_out={
        "features": ways_out.pooled_features("BertModel"),
        "masked_token": ways_out.masked_token(
            "BertForMaskedLM",
            dense="/cls.predictions.transform.dense",
            norm="/cls.predictions.transform.LayerNorm",
            scores={
                "weight": "/cls.predictions.decoder.weight",
                "bias": Twice("/cls.predictions.bias", "/cls.predictions.decoder.bias"),
            },
        ),
        "class": WayOut(
            "BertForSequenceClassification",
            lambda config, trunk, classes: ClassHead(
                config.width, classes, pool=Pooler(config.width), dropout=config.dropout
            ),
            weights_and_biases({"pool.dense": "pooler.dense", "scores": "/classifier"}),
        ),
        # Whether the second sentence follows the first (section 3.1, task #2): always two scores.
        "next_sentence": WayOut(
            "BertForNextSentencePrediction",
            lambda config, trunk, classes: ClassHead(config.width, 2, pool=Pooler(config.width)),
            weights_and_biases({"pool.dense": "pooler.dense", "scores": "/cls.seq_relationship"}),
        ),
        "token_class": ways_out.token_class("BertForTokenClassification"),
        "span": ways_out.span("BertForQuestionAnswering"),
    },
    # Of the pooler in BERT's first files, which is as they say; of the next sentence; of a head that is not here.
    unread=frozenset(
        [
            "directionality",
            "pooler_fc_size",
            "pooler_num_attention_heads",
            "pooler_num_fc_layers",
            "pooler_size_per_head",
            "pooler_type",
            "classifier_dropout",
        ]
    ),
    # Buffers that old versions of transformers wrote among the weights.
    ignored=("embeddings.position_ids", "embeddings.token_type_ids"),
    presets={
        "bert-tiny": _sizes(2, 128),
        "bert-mini": _sizes(4, 256),
        "bert-small": _sizes(4, 512),
        "bert-medium": _sizes(8, 512),
        "bert-base": _sizes(12, 768),
        "bert-large": _sizes(24, 1024),
    },
    tokenizer=TokenizerStyle(
        "wordpiece",
        special={"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
        before=("cls",),
        after=("sep",),
        lowercase=True,
        huggingface="BertTokenizer",
    ),
)
