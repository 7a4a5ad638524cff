"""What families that read one text and write another have in common: their ways out, and names in `config.json`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from patchword.models.family import WayOut
from patchword.models.heads import ClassHead, Features, Head, LastToken, Pooler, SpanHead, TokenClassHead
from patchword.models.weights import Names, weights_and_biases

CONFIG_NAMES = {
    "width": "d_model",
    **{
        name: name
        for name in (
            "classifier_dropout",
            "vocab_size",
            "pad_token_id",
            "bos_token_id",
            "eos_token_id",
            "decoder_start_token_id",
        )
    },
}
"""Our fields -> keys of `config.json`."""


def class_at_the_end(config: Any, trunk: Any, classes: int) -> ClassHead:
    """A class is read from the decoder, which reads the text along, at its last token (Lewis et al. 2020, 3.1)."""
    pool = Pooler(config.width, token=LastToken(), dropout=config.classifier_dropout)
    return ClassHead(config.width, classes, pool=pool, dropout=config.classifier_dropout)


def encoder_decoder_ways_out(
    name: str, next_token: Callable[[Any, Any, int], Head], names: Names, *, bare: bool = False
) -> dict[str, WayOut]:
    """Vectors, the next word, a class, and the ends of an answer.

    Args:
        name: what Hugging Face's classes begin with.
        next_token: (config, trunk, number of classes) -> the head that scores words.
        names: the weights of that head in files.
        bare: whether the trunk's weights have no prefix in files with that head, or with the answers'.
    """
    ends = weights_and_biases({"pool.dense": "/classification_head.dense", "scores": "/classification_head.out_proj"})
    return {
        "features": WayOut(f"{name}Model", lambda config, trunk, classes: Features(), bare=True),
        "next_token": WayOut(f"{name}ForConditionalGeneration", next_token, names, bare=bare),
        "class": WayOut(f"{name}ForSequenceClassification", class_at_the_end, ends),
        "span": WayOut(
            f"{name}ForQuestionAnswering",
            lambda config, trunk, classes: SpanHead(config.width),
            weights_and_biases({"scores": "/qa_outputs"}),
            bare=bare,
        ),
    }


def encoder_ways_out(name: str, encoder: type[nn.Module]) -> dict[str, WayOut]:
    """Those of the first half alone: vectors, and a class of each token.

    Args:
        name: what Hugging Face's classes begin with.
        encoder: the first half.
    """
    return {
        "encoder": WayOut(f"{name}EncoderModel", lambda config, trunk, classes: Features(), bare=True, trunk=encoder),
        "token_class": WayOut(
            f"{name}ForTokenClassification",
            lambda config, trunk, classes: TokenClassHead(config.width, classes, dropout=config.classifier_dropout),
            weights_and_biases({"scores": "/classifier"}),
            trunk=encoder,
        ),
    }
