"""Marked parts of a text, in characters: how they are written in tables, and the units of the text that they fit."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

_START = ("start", "start_offset", "begin")
_END = ("end", "end_offset", "stop")
_LABEL = ("label", "type", "entity", "tag", "entity_group")


_OWN_TEXT = "text"

Unit = Literal["characters", "UTF-16 code units", "UTF-8 bytes"]
"""What starts and ends count: Python counts characters, JavaScript and Java UTF-16 code units, Go and Rust bytes."""
CHARACTERS: Unit = "characters"
_ENCODINGS: dict[Unit, tuple[str, int]] = {"UTF-16 code units": ("utf-16-le", 2), "UTF-8 bytes": ("utf-8", 1)}


class Span(NamedTuple):
    """`text[start:end]` is a `label`."""

    start: int
    end: int
    label: str


def looks_like_spans(cell: object) -> bool:
    """Whether a cell is a list of {start, end, label} or [start, end, label], be it with a wrong start or end."""
    if not isinstance(cell, list) or not cell:
        return False
    item = cell[0]
    if isinstance(item, dict):
        return all(any(name in item for name in names) for names in (_START, _END, _LABEL))
    if not isinstance(item, list | tuple) or len(item) < 3:
        return False
    return isinstance(item[2], str) and any(type(place) is int for place in item[:2])


def _read(item: Any) -> Span | str:
    """A span, or what is wrong with it."""
    if isinstance(item, dict):
        item = [next((item[name] for name in names if name in item), None) for names in (_START, _END, _LABEL)]
    if not isinstance(item, list | tuple) or len(item) < 3:
        return f"{str(item)[:60]} is no span; one is written [start, end, label] or {{start, end, label}}"
    start, end, label = item[:3]
    if type(start) is not int or type(end) is not int or not isinstance(label, str) or not label.strip():
        return f"the span {str(item)[:60]} needs a start and an end, whole numbers, and a label, a text"
    return Span(start, end, label.strip())


def unit_of(read: Iterable[tuple[Any, Any]]) -> Unit:
    """What the starts and ends of spans count, from the texts that some of them bring themselves.

    Args:
        read: cells with spans, and their texts.

    Returns:
        Characters if all of these texts are right so, else the unit in which they are; characters where there is none.
    """
    fitting: dict[Unit, bool] = {CHARACTERS: True, **dict.fromkeys(_ENCODINGS, True)}
    for cell, text in read:
        if not isinstance(cell, list) or not isinstance(text, str):
            continue
        for item in cell:
            span = _read(item)
            if isinstance(span, str) or (own := _own_text(item)) is None:
                continue
            for unit in fitting:
                fitting[unit] = fitting[unit] and _agrees(_in_characters(span, text, unit), own, text)
    return next((unit for unit, fits in fitting.items() if fits), CHARACTERS)


def _own_text(item: Any) -> str | None:
    own = item.get(_OWN_TEXT) if isinstance(item, dict) else None
    return own if isinstance(own, str) and own.strip() else None


def _agrees(span: Span | None, own: str, text: str) -> bool:
    return span is not None and text[span.start : span.end].split() == own.split()


def _in_characters(span: Span, text: str, unit: Unit) -> Span | None:
    """A span that counts another unit; None where it begins or ends inside a character or outside the text."""
    if unit == CHARACTERS or text.isascii():
        return span
    number = _numbers(text, unit)
    if span.start not in number or span.end not in number:
        return None
    return Span(number[span.start], number[span.end], span.label)


@lru_cache(maxsize=len(_ENCODINGS))
def _numbers(text: str, unit: Unit) -> dict[int, int]:
    """Place in the unit at which each character begins -> its number; and the end of the text."""
    encoding, size = _ENCODINGS[unit]
    lengths = (len(character.encode(encoding, "surrogatepass")) // size for character in text)
    return {place: number for number, place in enumerate(itertools.accumulate(lengths, initial=0))}


def read_spans(cell: Any, text: str, unit: Unit = CHARACTERS) -> list[Span] | str:
    """The spans of one text in their order, or what is wrong with them. An empty cell is a text with none.

    Args:
        cell: a list of spans; one may bring the text that it marks.
        text: of the row.
        unit: what starts and ends count.
    """
    if cell is None:
        return []
    if not isinstance(cell, list):
        return f"{str(cell)[:60]!r} is no list of spans"
    spans = []
    for item in cell:
        span = _read(item)
        if isinstance(span, str):
            return span
        if span.start >= span.end:
            return f"the span {span.label} begins at {span.start} and ends at {span.end}: it holds nothing"
        counted, converted = span, _in_characters(span, text, unit)
        if converted is None:
            return (
                f"the span {span.label} from {span.start} to {span.end}, in {unit}, is outside the text, or cuts a "
                "character"
            )
        span = converted
        if span.start < 0 or span.end > len(text):
            return (
                f"the span {span.label} from {span.start} to {span.end} is outside the text of {len(text)} characters"
            )
        if text[span.start : span.end].isspace():
            return f"the span {span.label} from {span.start} to {span.end} holds nothing but white space"
        own = _own_text(item)
        if own is not None and not _agrees(span, own, text):
            return (
                f"the span {span.label} from {counted.start} to {counted.end} is {text[span.start : span.end][:40]!r}, "
                f"but its own text is {own[:40]!r}"
            )
        spans.append(_trimmed(span, text))
    spans.sort()
    for one, two in itertools.pairwise(spans):
        if two.start < one.end:
            return (
                f"the spans {one.label} ({one.start} to {one.end}) and {two.label} ({two.start} to {two.end}) "
                "overlap; a word can have one label"
            )
    return spans


def _trimmed(span: Span, text: str) -> Span:
    """Without the white space at its ends."""
    inside = text[span.start : span.end]
    start = span.start + len(inside) - len(inside.lstrip())
    return Span(start, start + len(inside.strip()), span.label)


class Fitted(NamedTuple):
    """Spans as runs of units.

    Args:
        runs: (first unit, last unit + 1, label) of each span that has a unit of its own.
        inexact: of the spans, the numbers of those that do not begin and end where units do.
    """

    runs: list[tuple[int, int, str]]
    inexact: list[int]


def fit(spans: Sequence[Span], units: Sequence[tuple[int, int]], usable: Container[int]) -> Fitted:
    """The units that each span touches; a unit that two spans touch belongs to the first.

    Args:
        spans: in their order.
        units: (start, end) of each, in their order.
        usable: numbers of the units that a model gives a tag to; a span can not begin or end with another one.
    """
    runs: list[tuple[int, int, str]] = []
    inexact = []
    first = end = 0
    for number, span in enumerate(spans):
        while first < len(units) and units[first][1] <= span.start:
            first += 1
        first = max(first, end)
        last = first
        while last < len(units) and units[last][0] < span.end:
            last += 1
        if first < last:
            runs.append((first, last, span.label))
            exact = units[first][0] == span.start and units[last - 1][1] == span.end
            if not (exact and first in usable and last - 1 in usable):
                inexact.append(number)
            end = last
        else:
            inexact.append(number)
    return Fitted(runs, inexact)


def bio(runs: Iterable[tuple[int, int, str]], count: int) -> list[str]:
    """The BIO tags of so many units."""
    tags = ["O"] * count
    for first, last, label in runs:
        tags[first:last] = [f"B-{label}", *[f"I-{label}"] * (last - first - 1)]
    return tags
