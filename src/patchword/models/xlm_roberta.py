"""XLM-RoBERTa: RoBERTa trained on the text of 100 languages (Conneau et al. 2020, section 3).

RoBERTa's layers and heads. Its vocabulary of 250,002 is a unigram model of SentencePiece, shared by all languages; no
text says which language it is in.
"""

from __future__ import annotations

from dataclasses import replace

from patchword.models import roberta
from patchword.models.family import WayOut
from patchword.models.roberta import Roberta, RobertaConfig
from patchword.nn.config import Positive


class XLMRobertaConfig(RobertaConfig):
    """Sizes of an XLM-RoBERTa; what a `config.json` leaves out is as transformers has it."""

    vocab_size: Positive = 30522


class XLMRoberta(Roberta):
    """A RoBERTa of many languages (Conneau et al. 2020, section 3)."""


def _way_out(name: str) -> WayOut:
    way = roberta.FAMILY.ways_out[name]
    return replace(way, architecture=f"XLM{way.architecture}")


def _sizes(depth: int, width: int) -> XLMRobertaConfig:
    return XLMRobertaConfig(
        vocab_size=250002,
        depth=depth,
        width=width,
        heads=width // 64,
        hidden=4 * width,
        max_length=512,
        segments=1,
        norm_eps=1e-5,
    )


FAMILY = replace(
    roberta.FAMILY,
    model_type="xlm-roberta",
    config=XLMRobertaConfig,
    trunk=XLMRoberta,
    ways_out={name: _way_out(name) for name in roberta.FAMILY.ways_out},
    presets={
        "xlm-roberta-base": _sizes(12, 768),
        "xlm-roberta-large": _sizes(24, 1024),
        "xlm-roberta-tiny": _sizes(2, 128),
    },
    tokenizer=replace(roberta.TOKENIZER, algorithm="unigram", huggingface="PreTrainedTokenizerFast"),
)
