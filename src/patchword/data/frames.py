"""Special tokens that stand around a text, or around and between the two texts of a pair."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from tokenizers import Tokenizer as Backend
from tokenizers import models, processors

from patchword.errors import UserError

# Ids that no vocabulary has: they stand for the texts.
_TEXTS = (2**32 - 2, 2**32 - 1)


@dataclass(frozen=True)
class Frame:
    """What a tokenizer's post-processor puts around `n` texts.

    Attributes:
        parts: ids before the first text, between each two, and after the last one; `n + 1` of them.
        types: the token type ids of `parts`.
        text_types: the token type id of each text.
    """

    parts: tuple[tuple[int, ...], ...]
    types: tuple[tuple[int, ...], ...]
    text_types: tuple[int, ...]

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return tuple(np.asarray(part, np.int64) for part in self.parts)

    @cached_property
    def has_types(self) -> bool:
        """Whether a token has another type than 0."""
        return any(self.text_types) or any(map(any, self.types))

    def __len__(self) -> int:
        """Number of special tokens."""
        return sum(map(len, self.parts))

    def without_end(self) -> Frame:
        """The same frame with nothing after the last text."""
        return Frame((*self.parts[:-1], ()), (*self.types[:-1], ()), self.text_types)

    def put(self, *texts: np.ndarray) -> np.ndarray:
        """Ids of each text -> ids of the whole sequence, `[sum + len(frame)]` int64."""
        first, *others = self._arrays
        pieces = [first]
        for text, part in zip(texts, others, strict=True):
            pieces += [text, part]
        return np.concatenate(pieces, dtype=np.int64)

    def token_types(self, *lengths: int) -> np.ndarray:
        """Lengths of the texts -> the token type of each token of the sequence, `[sum + len(frame)]` int64."""
        pieces = [np.asarray(self.types[0], np.int64)]
        for length, kind, types in zip(lengths, self.text_types, self.types[1:], strict=True):
            pieces += [np.full(length, kind, np.int64), np.asarray(types, np.int64)]
        return np.concatenate(pieces)

    def starts(self, *lengths: int) -> tuple[int, ...]:
        """Lengths of the texts -> the index of the first token of each text."""
        found, at = [], 0
        for length, part in zip(lengths, self.parts, strict=False):
            at += len(part)
            found.append(at)
            at += length
        return tuple(found)


def read_frames(processor: processors.PostProcessor | None) -> tuple[Frame, Frame]:
    """The frames that a post-processor puts around one text and around a pair.

    It is applied to a vocabulary of two words of our own, so neither the tokenizer's vocabulary nor its normalizer
    matters.

    Raises:
        UserError: it names a token without an id, leaves a text out, repeats it or changes the order.
    """
    _check(processor)
    probe = Backend(models.WordLevel({"a": _TEXTS[0], "b": _TEXTS[1]}, unk_token="a"))
    if processor is not None:
        probe.post_processor = processor
    return _frame(probe.encode("a"), 1), _frame(probe.encode("a", "b"), 2)


def _check(processor: processors.PostProcessor | None) -> None:
    """Look whether a template names tokens without ids, which ends the process of `tokenizers` that applies it."""
    found = [] if processor is None else [json.loads(bytes(processor.__getstate__()))]
    while found:
        state = found.pop()
        found += state.get("processors", [])
        pieces = [piece for part in ("single", "pair") for piece in state.get(part, ())]
        named = {piece["SpecialToken"]["id"] for piece in pieces if "SpecialToken" in piece}
        if missing := sorted(named - state.get("special_tokens", {}).keys()):
            raise UserError(f"The tokenizer's post_processor gives no id for its token {missing[0][:60]!r}.")


def _frame(encoding: object, count: int) -> Frame:
    ids, types = list(encoding.ids), list(encoding.type_ids)  # type: ignore[attr-defined]
    texts = [i for i in ids if i in _TEXTS]
    if texts != list(_TEXTS[:count]):
        what = "a text" if count == 1 else "a pair of texts"
        raise UserError(f"The tokenizer's post_processor does not keep {what} once and in order; it is not supported.")
    places = [ids.index(text) for text in texts]
    edges = list(zip([0, *(place + 1 for place in places)], [*places, len(ids)], strict=True))
    return Frame(
        tuple(tuple(ids[start:stop]) for start, stop in edges),
        tuple(tuple(types[start:stop]) for start, stop in edges),
        tuple(types[place] for place in places),
    )


def processor_of(backend: Backend, single: Frame, pair: Frame) -> processors.PostProcessor:
    """A post-processor that puts these frames; offsets are left as they are."""
    ids = dict.fromkeys(i for frame in (single, pair) for part in frame.parts for i in part)
    names = {i: backend.id_to_token(i) or "" for i in ids}
    return processors.TemplateProcessing(
        single=_template(single, names),
        pair=_template(pair, names),
        special_tokens=[(name, i) for i, name in names.items()],
    )


def _template(frame: Frame, names: dict[int, str]) -> list[str]:
    pieces = []
    for number, (part, types) in enumerate(zip(frame.parts, frame.types, strict=True)):
        if number:
            pieces.append(f"${'AB'[number - 1]}:{frame.text_types[number - 1]}")
        pieces += [f"{names[i]}:{kind}" for i, kind in zip(part, types, strict=True)]
    return pieces
