"""Marked parts of a text, in characters: how they are written in tables, and the words of the text beside them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

# Letters and digits with the marks and joiners that go with them; any other visible character by itself.
_WORD = re.compile(r"\w[\w\u0300-\u036f\u200c\u200d\ufe0e\ufe0f]*|[^\w\s]")
_START = ("start", "start_offset", "begin")
_END = ("end", "end_offset", "stop")
_LABEL = ("label", "type", "entity", "tag", "entity_group")


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


def read_spans(cell: Any, text: str) -> list[Span] | str:
    """The spans of one text in their order, or what is wrong with them. An empty cell is a text with none."""
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
        if span.start < 0 or span.end > len(text):
            return (
                f"the span {span.label} from {span.start} to {span.end} is outside the text of {len(text)} characters"
            )
        if text[span.start : span.end].isspace():
            return f"the span {span.label} from {span.start} to {span.end} holds nothing but white space"
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


def words_of(text: str, cuts: Iterable[int] = ()) -> list[tuple[int, int]]:
    """(start, end) of each word and of each sign between words; none goes across one of the `cuts`."""
    at = sorted(set(cuts))
    words = []
    for found in _WORD.finditer(text):
        start, end = found.span()
        for cut in [cut for cut in at if start < cut < end] if at else ():
            words.append((start, cut))
            start = cut
        words.append((start, end))
    return words


def widened(spans: Sequence[Span], pieces: Sequence[tuple[int, int]]) -> tuple[list[Span], int]:
    """Spans that begin and end where word pieces do, and how many had to be changed for that.

    Args:
        spans: in their order.
        pieces: (start, end) of each word piece.
    """
    out: list[Span] = []
    for span in spans:
        touched = [(start, end) for start, end in pieces if start < span.end and span.start < end]
        first = min([span.start, *(start for start, _ in touched)])
        last = max([span.end, *(end for _, end in touched)])
        if out and first < out[-1].end:  # the piece belongs to the span before
            first = out[-1].end
        if first < last:
            out.append(Span(first, last, span.label))
    return out, len(spans) - len(set(spans) & set(out))


def tags_of(words: Sequence[tuple[int, int]], spans: Sequence[Span]) -> list[str]:
    """The BIO tag of each word: the span that holds its first character."""
    tags = []
    number, last = 0, -1
    for start, _ in words:
        while number < len(spans) and spans[number].end <= start:
            number += 1
        inside = number < len(spans) and spans[number].start <= start
        tags.append(f"{'I' if number == last else 'B'}-{spans[number].label}" if inside else "O")
        last = number if inside else -1
    return tags
