"""Odd texts, scripts and languages."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from patchword.checks.contents import odd_texts
from patchword.checks.languages import language, language_findings, script


def kinds(text: str) -> list[str]:
    return [finding.title.split(": ")[1] for finding in odd_texts([text], ["row 2"], "data")]


@pytest.mark.parametrize(
    "text", ["café", "naïve – “quoted” …", "NÃO É ÂMBAR", "5 < 6 and a > b", "C&A", "v2.0", "日本語", "a\tb\n"]
)
def test_what_is_well_is_not_told(text: str) -> None:
    assert kinds(text) == []


@pytest.mark.parametrize("original", ["é", "ü", "’", "“quoted”", "–", "😀", "¡", "Ünter", "° "])
@pytest.mark.parametrize("wrong", ["cp1252", "latin-1"])
def test_utf8_read_as_another_encoding_is_told(original: str, wrong: str) -> None:
    text = f"before {original} after".encode().decode(wrong, "ignore")
    assert "texts that were decoded wrongly (such as Ã© for é)" in kinds(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (" \u3000\n", "empty texts"),
        ("lost \ufffd", "texts with the character U+FFFD, where another one is lost"),
        ("bell\x07", "texts with control characters"),
        ("a<br/>b", "texts with HTML"),
        ("salt &amp; pepper", "texts with HTML"),
        ("1,234.50 - 2", "texts of numbers alone"),
        ("https://a.org/b www.c.org", "texts of addresses (URLs) alone"),
        ("...", "texts without a letter or a digit"),
    ],
)
def test_odd_texts(text: str, kind: str) -> None:
    assert kinds(text) == [kind]


def test_five_places_and_the_count_are_told() -> None:
    (found,) = odd_texts(["<b>x</b>", "fine"] * 7, [f"row {i}" for i in range(14)], "test")
    assert found.places == ["row 0", "row 2", "row 4", "row 6", "row 8"]
    assert found.title == "test: texts with HTML: 7 of 14"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("The weather was not what we have been told, and it was cold for the time of year.", "English"),
        ("Der Hund ist nicht in dem Haus, und die Katze sitzt auf einem Stuhl bei der Tür.", "German"),
        ("Le chat est dans la maison et les chiens ne sont pas avec lui pour une fois.", "French"),
        ("El perro no está en la casa pero los gatos son como siempre y se lo comen.", "Spanish"),
        ("Il gatto non è nella casa, ma il cane che abbiamo visto è di una signora.", "Italian"),
        ("O gato não está em casa, mas os cães são como uma família para ela.", "Portuguese"),
        ("De kat zit niet op het dak, maar de hond is er ook met een bot.", "Dutch"),
        ("Kot nie jest w domu, ale pies się bawi i to jest dla nas od rana.", "Polish"),
        ("Katten är inte på taket, men det är en hund som har ett ben.", "Swedish"),
        ("Bu kedi evde değil ama köpek çok mutlu ve bir kemik için daha bekliyor.", "Turkish"),
        ("Great phone", "unknown"),
    ],
)
def test_languages(text: str, name: str) -> None:
    assert language(text) == name


def test_scripts() -> None:
    names = [script(text) for text in ("abc", "Привет abc", "日本", "ελληνικά", "123", "한 the")]
    assert names == ["Latin", "Cyrillic", "CJK", "Greek", "unknown", "Latin"]


def test_what_stands_out_is_told_and_what_is_balanced_is_not() -> None:
    texts = ["an English text of words"] * 30 + ["русский текст"]
    shares, (found,) = language_findings(texts, [f"row {i}" for i in range(31)], "data")
    assert found.places == ["row 30"]
    assert shares["scripts"] == {"Latin": 30 / 31, "Cyrillic": 1 / 31}
    half = ["an English text of words", "русский текст"] * 5
    assert language_findings(half, [""] * 10, "data")[1] == []


@pytest.mark.parametrize(
    "text",
    ["I didn't laugh. I didn't smile. I survived.", "Das Boot, El Niño and Die Hard: the best of films", "de la en"],
)
def test_a_language_is_named_only_where_it_is_certain(text: str) -> None:
    assert language(text) in ("unknown", "English")


def test_english_is_taken_for_no_other_language() -> None:
    """The rate that `languages.CERTAIN` states, on real texts."""
    if "PATCHWORD_DATA" not in os.environ:
        pytest.skip("PATCHWORD_DATA does not name the folder with the real data sets")
    lines = (Path(os.environ["PATCHWORD_DATA"]) / "sentiment-train.jsonl").read_text("utf-8").splitlines()
    found = Counter(language(json.loads(line)["text"]) for line in lines)
    assert found.keys() <= {"English", "unknown"}
    assert found["English"] > 0.7 * found.total()
