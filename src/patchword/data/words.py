"""Where a text can be cut into units that get a tag each: a function of the text and of its tokens, never of labels.

The unit is the word in scripts that put spaces between words, and the grapheme cluster (what a reader takes for one
character: Unicode Standard Annex 29) in those that put none, such as Chinese, Japanese and Thai. A cluster is never
cut, so that a letter keeps its accents, vowel signs and joiners.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from functools import cache

from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

Place = tuple[int, int]
"""(start, end) in characters."""

# Scripts without spaces between words: classes ID and SA of Unicode Standard Annex 14, and two marks that they share.
_NO_SPACES = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Yi}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tai_Le}\p{New_Tai_Lue}"
    r"\p{Tai_Tham}\p{Tai_Viet}\p{Javanese}\p{Balinese}ーｰ"
)
_UNITS = rf"(?:(?=[\p{{L}}\p{{N}}_])(?![{_NO_SPACES}])\X)+|\X"
# Texts of these characters alone (Latin, Greek, Cyrillic, quotes, dashes, currencies; no combining marks) need no
# more than Python's own expressions, which are five times as fast and give the same.
_PLAIN = re.compile("[\0-\u024f\u0370-\u0482\u048a-\u052f\u1e00-\u1eff\u2010-\u2027\u20a0-\u20bf]*")
_PLAIN_UNIT = re.compile(r"\w+|[^\w\s]")


@cache
def _splitter(pattern: str) -> Split:
    return Split(Regex(pattern), "isolated")


def _isolated(pattern: str, text: str) -> Iterator[Place]:
    return (place for _, place in _splitter(pattern).pre_tokenize_str(text))


def words_of(text: str) -> list[Place]:
    """Each word, each cluster of a script without spaces, and each sign between them, without white space."""
    if _PLAIN.fullmatch(text):
        return [found.span() for found in _PLAIN_UNIT.finditer(text)]
    return [(start, end) for start, end in _isolated(_UNITS, text) if not text[start:end].isspace()]


def clusters_of(text: str) -> list[Place]:
    """Each grapheme cluster, white space included."""
    if _PLAIN.fullmatch(text):
        return [(place, place + 1) for place in range(len(text))]
    return list(_isolated(r"\X", text))


def units_of(text: str, pieces: Sequence[Place], word_pieces: bool = False) -> list[Place]:
    """The parts of a text that a model with these word pieces can give a tag each, in their order.

    Args:
        text: to be cut.
        pieces: where each of its word pieces stands; `(n, n)` for one that stands for no text.
        word_pieces: cut words where a word piece begins, too, unless that is inside a cluster.

    Returns:
        the words of `words_of`; clusters of letters that share a word piece are one unit.
    """
    units = words_of(text)
    if word_pieces:
        units = _cut(units, _starts(text, pieces))
    return _merged(text, units, pieces)


def _starts(text: str, pieces: Sequence[Place]) -> list[int]:
    """Where word pieces begin that no earlier piece goes beyond, and no cluster is cut."""
    clusters = {start for start, _ in clusters_of(text)}
    starts, covered = [], 0
    for start, end in pieces:
        if start >= covered and start < end and start in clusters:
            starts.append(start)
        covered = max(covered, end)
    return starts


def _cut(units: Sequence[Place], at: Sequence[int]) -> list[Place]:
    out: list[Place] = []
    number = 0
    for start, end in units:
        while number < len(at) and at[number] < end:
            if at[number] > start:
                out.append((start, at[number]))
                start = at[number]
            number += 1
        out.append((start, end))
    return out


def _merged(text: str, units: list[Place], pieces: Sequence[Place]) -> list[Place]:
    """Units of letters or digits that touch one another inside a word piece are one."""
    touching = [
        one[1]
        for one, two in itertools.pairwise(units)
        if one[1] == two[0] and _letter(text, one) and _letter(text, two)
    ]
    if not touching:
        return units
    inside = {place for start, end in pieces for place in range(start + 1, end)}
    together = inside.intersection(touching)
    out: list[Place] = []
    for start, end in units:
        if start in together:
            start = out.pop()[0]
        out.append((start, end))
    return out


def _letter(text: str, unit: Place) -> bool:
    first = text[unit[0]]
    return first.isalnum() or first == "_"
