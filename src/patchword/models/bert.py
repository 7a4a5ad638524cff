"""BERT: words in both directions (Devlin et al. 2018); the small ones are Turc et al. 2019, table 1.

Post-norm layers with biases and GELU; learned positions and segments, a norm on the embeddings; the word table is
also the masked-word scores. A class is read from the first token, [CLS], through a tanh layer.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from patchword.data.tokenizers import TokenizerStyle
from patchword.models.config import TextConfig
from patchword.models.family import Family, WayOut
from patchword.models.heads import ClassHead, MaskedTokenHead, Pooler, SpanHead, TokenClassHead
from patchword.models.stems import SegmentedEmbedding
from patchword.models.weights import Rows
from patchword.nn.attention import SelfAttention
from patchword.nn.block import Block, post_norm
from patchword.nn.config import Positive
from patchword.nn.feedforward import FeedForward
from patchword.nn.packing import Packed
from patchword.nn.positions import LearnedPositions
from patchword.nn.transformer import Transformer


class BertConfig(TextConfig):
    """Sizes of a BERT."""

    vocab_size: Positive = 30522
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

    def forward(self, tokens: Packed, segments: Tensor | None = None) -> Packed:
        """Token ids `[T]`, segment ids `[T]` -> `[T, width]`."""
        hidden: Packed = self.encoder(self.embed(tokens, segments))
        return hidden


def _masked_token(config: BertConfig, trunk: Bert, classes: int) -> MaskedTokenHead:
    return MaskedTokenHead(
        trunk.embed.words, activation=config.activation, norm=nn.LayerNorm(config.width, eps=config.norm_eps)
    )


def _class(config: BertConfig, trunk: Bert, classes: int) -> ClassHead:
    return ClassHead(config.width, classes, pool=Pooler(config.width), dropout=config.dropout)


def _next_sentence(config: BertConfig, trunk: Bert, classes: int) -> ClassHead:
    """Whether the second sentence follows the first, or is any other (section 3.1, task #2): always two scores."""
    return ClassHead(config.width, 2, pool=Pooler(config.width))


def _sizes(depth: int, width: int) -> BertConfig:
    return BertConfig(depth=depth, width=width, heads=width // 64, hidden=4 * width)


_ATTENTION = "encoder.layer.{i}.attention."

FAMILY = Family(
    model_type="bert",
    modality="text",
    config=BertConfig,
    trunk=Bert,
    prefix="bert.",
    config_names={
        "width": "hidden_size",
        "depth": "num_hidden_layers",
        "heads": "num_attention_heads",
        "hidden": "intermediate_size",
        "activation": "hidden_act",
        "norm_eps": "layer_norm_eps",
        "dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
        "init_std": "initializer_range",
        "vocab_size": "vocab_size",
        "max_length": "max_position_embeddings",
        "segments": "type_vocab_size",
        "pad_token_id": "pad_token_id",
    },
    required={
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
    },
    weight_names={
        "embed.words.weight": "embeddings.word_embeddings.weight",
        "embed.positions.weight": "embeddings.position_embeddings.weight",
        "embed.segments.weight": "embeddings.token_type_embeddings.weight",
        "embed.norm.weight": "embeddings.LayerNorm.weight",
        "embed.norm.bias": "embeddings.LayerNorm.bias",
        **{
            f"encoder.layers.{{i}}.{ours}.{kind}": (
                Rows(tuple(f"{_ATTENTION}self.{part}.{kind}" for part in ("query", "key", "value")))
                if ours == "attention.qkv"
                else f"encoder.layer.{{i}}.{theirs}.{kind}"
            )
            for ours, theirs in {
                "attention.qkv": "",
                "attention.out": "attention.output.dense",
                "attention_norm": "attention.output.LayerNorm",
                "feedforward.up": "intermediate.dense",
                "feedforward.down": "output.dense",
                "feedforward_norm": "output.LayerNorm",
            }.items()
            for kind in ("weight", "bias")
        },
    },
    ways_out={
        "features": WayOut(
            "BertModel",
            lambda config, trunk, classes: Pooler(config.width),
            {"dense.weight": "pooler.dense.weight", "dense.bias": "pooler.dense.bias"},
            bare=True,
        ),
        "masked_token": WayOut(
            "BertForMaskedLM",
            _masked_token,
            {
                "dense.weight": "/cls.predictions.transform.dense.weight",
                "dense.bias": "/cls.predictions.transform.dense.bias",
                "norm.weight": "/cls.predictions.transform.LayerNorm.weight",
                "norm.bias": "/cls.predictions.transform.LayerNorm.bias",
                "scores.bias": "/cls.predictions.bias",
            },
        ),
        "class": WayOut(
            "BertForSequenceClassification",
            _class,
            {
                "pool.dense.weight": "pooler.dense.weight",
                "pool.dense.bias": "pooler.dense.bias",
                "scores.weight": "/classifier.weight",
                "scores.bias": "/classifier.bias",
            },
        ),
        "next_sentence": WayOut(
            "BertForNextSentencePrediction",
            _next_sentence,
            {
                "pool.dense.weight": "pooler.dense.weight",
                "pool.dense.bias": "pooler.dense.bias",
                "scores.weight": "/cls.seq_relationship.weight",
                "scores.bias": "/cls.seq_relationship.bias",
            },
        ),
        "token_class": WayOut(
            "BertForTokenClassification",
            lambda config, trunk, classes: TokenClassHead(config.width, classes, dropout=config.dropout),
            {"scores.weight": "/classifier.weight", "scores.bias": "/classifier.bias"},
        ),
        "span": WayOut(
            "BertForQuestionAnswering",
            lambda config, trunk, classes: SpanHead(config.width),
            {"scores.weight": "/qa_outputs.weight", "scores.bias": "/qa_outputs.bias"},
        ),
    },
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
