"""Units of a text: every visible character once, whatever the script, and no cluster cut."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchword.data.words import _PLAIN, _UNITS, _isolated, clusters_of, units_of, words_of

_SCRIPTS = st.sampled_from("a1_ -.,é\u0301\u094d\u200d\ufe0fक्षिน้ำกา北京カナー김수👩👍🏽🇩🇪\u200b\n")


@given(st.text(st.one_of(_SCRIPTS, st.characters(codec="utf-8")), max_size=40))
def test_words_hold_everything_visible(text: str) -> None:
    words = words_of(text)
    assert all(a < b for a, b in words)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(words))
    assert "".join("".join(text[a:b] for a, b in words).split()) == "".join(text.split())


@given(
    st.text(st.one_of(st.characters(max_codepoint=0x52F), st.characters(min_codepoint=0x1E00, max_codepoint=0x20CF)))
)
def test_plain_texts_are_cut_the_same_by_both_expressions(text: str) -> None:
    text = "".join(filter(_PLAIN.fullmatch, text))
    assert words_of(text) == [(a, b) for a, b in _isolated(_UNITS, text) if not text[a:b].isspace()]


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("Ann's New-York 10km", "Ann ' s New - York 10km"),
        ("王明去了Rome。", "王 明 去 了 Rome 。"),
        ("김철수는 서울에서", "김철수는 서울에서"),
        ("ไปน้ำ", "ไ ป น้ำ"),
        ("क्षत्रिय दिल्ली", "क्षत्रिय दिल्ली"),
        ("e\u0301te\u0301 بِسْمِ می\u200cخواهم", "e\u0301te\u0301 بِسْمِ می\u200cخواهم"),
        ("👩‍👩‍👧❤️🇩🇪🇫🇷", "👩‍👩‍👧 ❤️ 🇩🇪 🇫🇷"),
    ],
)
def test_units_of_scripts(text: str, units: str) -> None:
    """Unicode Standard Annex 29: what a reader takes for a character is whole."""
    assert [text[a:b] for a, b in words_of(text)] == units.split(" ")


def test_clusters_that_share_a_word_piece_are_one_unit() -> None:
    assert units_of("去北京了", [(0, 1), (1, 3), (3, 4)]) == [(0, 1), (1, 3), (3, 4)]
    assert units_of("서울에서", [(0, 2), (2, 4)]) == [(0, 4)]
    assert units_of("서울에서", [(0, 2), (2, 4)], word_pieces=True) == [(0, 2), (2, 4)]
    assert units_of("e\u0301te", [(0, 1), (1, 3), (3, 4)], word_pieces=True) == [(0, 3), (3, 4)]
    assert units_of("(U.S.),", [(0, 1), (1, 2), (2, 3), (3, 4), (4, 7)])[-3:] == [(4, 5), (5, 6), (6, 7)]


@given(st.text("ab1 -", max_size=30), st.lists(st.integers(0, 30), max_size=5))
def test_word_pieces_cut_words_where_they_begin(text: str, cuts: list[int]) -> None:
    ends = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    units = units_of(text, list(itertools.pairwise(ends)), word_pieces=True)
    expected = [
        (start + found.start(), start + found.end())
        for start, end in itertools.pairwise(ends)
        for found in re.finditer(r"\w+|[^\w\s]", text[start:end])
    ]
    assert units == expected
    assert clusters_of(text) == [(i, i + 1) for i in range(len(text))]
