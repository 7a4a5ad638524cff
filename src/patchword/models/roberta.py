"""RoBERTa: BERT trained for longer on more text, without the next sentence (Liu et al. 2019, section 5).

BERT's layers. Its vocabulary is byte-level BPE; positions begin two rows down in their table; there is one kind of
segment only. A class is read from the first token, <s>, through a tanh layer of the head's own.
"""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import field_validator
from torch import Tensor

from patchword.data.tokenizers import TokenizerStyle
from patchword.models import bert, ways_out
from patchword.models.bert import Bert, BertConfig
from patchword.models.config_file import ConfigFile
from patchword.models.family import Family, Key, WayOut
from patchword.models.heads import ClassHead, Pooler
from patchword.models.weights import Twice, weights_and_biases
from patchword.nn.config import Positive
from patchword.nn.packing import Packed
from patchword.nn.positions import LearnedPositions

UNUSED = 2
"""Rows of the position table before the first position: up to and with the pad token's id, which is 1."""


class RobertaConfig(BertConfig):
    """Sizes of a RoBERTa; what a `config.json` leaves out is as transformers has it."""

    vocab_size: Positive = 50265
    max_length: Positive = 512 - UNUSED
    pad_token_id: int | None = UNUSED - 1

    @field_validator("pad_token_id")
    @classmethod
    def _positions_begin_after_padding(cls, token: int | None) -> int | None:
        if token != UNUSED - 1:
            raise ValueError(
                f"the pad token's id is {token}, but RoBERTa's positions are counted from an id of {UNUSED - 1}; "
                "take a tokenizer whose pad token has that id"
            )
        return token


class RobertaPositions(LearnedPositions):
    """Positions counted from the id of the padding token, which has a row of its own wherever it stands."""

    def of(self, tokens: Packed) -> Tensor:
        """The vectors to add, `[T, width]`."""
        self.check(tokens.layout)
        kept = tokens.values != UNUSED - 1
        return F.embedding(tokens.layout.counted(kept) * kept + UNUSED - 1, self.weight)


class Roberta(Bert):
    """A BERT whose positions begin at the third row of their table."""

    def __init__(self, config: RobertaConfig) -> None:
        super().__init__(config)
        self.embed.positions = RobertaPositions(config.max_length, config.width, unused=UNUSED)


def _class(config: RobertaConfig, trunk: Roberta, classes: int) -> ClassHead:
    pool = Pooler(config.width, dropout=config.dropout)
    return ClassHead(config.width, classes, pool=pool, dropout=config.dropout)


def _max_length(raw: ConfigFile) -> int | None:
    rows = raw.whole("max_position_embeddings")
    return None if rows is None else rows - UNUSED


def _sizes(depth: int, width: int) -> RobertaConfig:
    return RobertaConfig(
        depth=depth, width=width, heads=width // 64, hidden=4 * width, max_length=512, segments=1, norm_eps=1e-5
    )


TOKENIZER = TokenizerStyle(
    "bpe",
    special={
        "cls": "<s>",
        "bos": "<s>",
        "pad": "<pad>",
        "sep": "</s>",
        "eos": "</s>",
        "unk": "<unk>",
        "mask": "<mask>",
    },
    before=("cls",),
    after=("sep",),
    between=("sep", "sep"),
    huggingface="RobertaTokenizer",
)

FAMILY = Family(
    model_type="roberta",
    modality="text",
    config=RobertaConfig,
    trunk=Roberta,
    prefix="roberta.",
    config_names={
        **bert.FAMILY.config_names,
        "max_length": Key(_max_length, lambda length: {"max_position_embeddings": length + UNUSED}),
    },
    required=bert.FAMILY.required,
    weight_names=bert.FAMILY.weight_names,
    ways_out={
        "features": ways_out.pooled_features("RobertaModel"),
        # The head has GELU whatever the layers have.
        "masked_token": ways_out.masked_token(
            "RobertaForMaskedLM",
            dense="/lm_head.dense",
            norm="/lm_head.layer_norm",
            scores={
                "weight": "/lm_head.decoder.weight",
                "bias": Twice("/lm_head.bias", "/lm_head.decoder.bias"),
            },
            activation="gelu",
        ),
        "class": WayOut(
            "RobertaForSequenceClassification",
            _class,
            weights_and_biases({"pool.dense": "/classifier.dense", "scores": "/classifier.out_proj"}),
        ),
        "token_class": ways_out.token_class("RobertaForTokenClassification"),
        "span": ways_out.span("RobertaForQuestionAnswering"),
    },
    unread=bert.FAMILY.unread,
    ignored=bert.FAMILY.ignored,
    presets={"roberta-base": _sizes(12, 768), "roberta-large": _sizes(24, 1024)},
    tokenizer=TOKENIZER,
)
