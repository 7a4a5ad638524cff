"""Words with tags from CoNLL files and tables, and spans in characters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchword.data.documents import Documents
from patchword.data.sources import read_labelled
from patchword.data.spans import Span, bio, fit, read_spans, unit_of
from patchword.data.tagged import TaggedText, holds_tags, read_tagged
from patchword.errors import UserError

CONLL = """-DOCSTART- -X- O

# id = 1
In IN O
New NNP B-PLACE
York NNP I-PLACE

# 3 O

said VBD O
"""


def words_of_text(text: TaggedText) -> list[str]:
    assert text.words is not None
    return [text.text[start:end] for start, end in text.words]


def table(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    return path


def test_conll(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text(CONLL)
    read = read_tagged(path)
    assert [words_of_text(text) for text in read.texts] == [["In", "New", "York"], ["#"], ["said"]]
    assert [text.tags for text in read.texts] == [("O", "B-PLACE", "I-PLACE"), ("O",), ("O",)]
    assert [text.origin for text in read.texts] == ["a.conll, row 4", "a.conll, row 8", "a.conll, row 10"]
    assert read_tagged(path, label_column="2").texts[0].tags == ("IN", "NNP", "NNP")
    assert holds_tags(path)


@pytest.mark.parametrize(
    ("content", "column", "message"),
    [
        ("a\tX\tO\nb\tO\n", None, r"a\.bio, row 2: 2 columns, but the first line has 3"),
        ("In IN O\nNew York NNP B-LOC\n", None, r"a\.bio, row 2: 4 columns, but the first line has 3"),
        ("a\tO\nb\t\n", None, r"a\.bio, row 2: the word or its tag is empty"),
        ("word\n", None, "have one column"),
        ("a O\n", "3", "by its number, 2 to 2 here, not '3'"),
        ("a O\n", "ner", "by its number"),
        ("\n\n", None, "has no words"),
    ],
)
def test_wrong_conll(content: str, column: str | None, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.bio").write_text(content)
    with pytest.raises(UserError, match=message):
        read_tagged(tmp_path / "a.bio", label_column=column)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("It PRP O\n10\u00a0000 CD B-NUM\u3000\n", [("It", "O"), ("10\u00a0000", "B-NUM")]),
        ("a\u2003b\tO\nc d\tB\n", [("a\u2003b", "O"), ("c d", "B")]),
        ("a  X   O\nb\tX\tB\n", [("a", "O"), ("b", "B")]),
        ("a\tX\tO\nb X B\n", [("a", "O"), ("b", "B")]),
        ("# id 11\tdomain=train\nin _ _ O\nrome _ _ B\n", [("in", "O"), ("rome", "B")]),
        ("# id 1 x=y\nin _ _ O\nrome _ _ B\n", [("in", "O"), ("rome", "B")]),
        ("# id 1 x=y\n# a b O\nin _ _ O\n", [("#", "O"), ("in", "O")]),
        ("#MAGA\tO\nin\tO\n", [("#MAGA", "O"), ("in", "O")]),
        ("#a O\n# B\n", [("#a", "O"), ("#", "B")]),
        ("in O\n# B\n", [("in", "O"), ("#", "B")]),
        ("# 2\n1\tin\tO\n2\trome\tB\n\n1\tx\tO\n", [("in", "O"), ("rome", "B"), ("x", "O")]),
        ("0 in O\n1 rome B\n", [("in", "O"), ("rome", "B")]),
        ("1 CD B\n3 CD I\n", [("1", "B"), ("3", "I")]),
        ("1 NUM\n2 NUM\n", [("1", "NUM"), ("2", "NUM")]),
    ],
)
def test_words_and_tags_of_odd_conll(content: str, expected: list[tuple[str, str]], tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text(content, "utf-8")
    read = read_tagged(tmp_path / "a.conll").texts
    found = [pair for text in read for pair in zip(words_of_text(text), text.tags or (), strict=True)]
    assert found == expected


def test_conll_u_has_its_words_in_the_second_column(tmp_path: Path) -> None:
    """An example of universaldependencies.org/format.html: a word of two, and one that was left out."""
    rows = [
        ("1-2", "vámonos", "_", "_"),
        ("1", "vamos", "ir", "VERB"),
        ("2", "nos", "nosotros", "PRON"),
        ("3-4", "al", "_", "_"),
        ("3", "a", "a", "ADP"),
        ("4", "el", "el", "DET"),
        ("4.1", "gran", "gran", "ADJ"),
        ("5", "mar", "mar", "NOUN"),
    ]
    lines = ["# text = vámonos al mar", *("\t".join([*row, *["_"] * 6]) for row in rows)]
    (tmp_path / "a.conll").write_text("\n".join(lines) + "\n\n", "utf-8")
    read = read_tagged(tmp_path / "a.conll")
    assert words_of_text(read.texts[0]) == ["vamos", "nos", "a", "el", "mar"]
    assert read.texts[0].tags == ("VERB", "PRON", "ADP", "DET", "NOUN")
    assert read_tagged(tmp_path / "a.conll", label_column="3").texts[0].tags == ("ir", "nosotros", "a", "el", "mar")
    assert read.notes == [
        "a.conll: the first column counts words; words are in column 2, tags in column 4",
        "a.conll: comments that are not read: 1",
        "a.conll: multiword tokens and empty nodes that are not read: 3",
    ]
    with pytest.raises(UserError, match="3 to 10 here, not '2'"):
        read_tagged(tmp_path / "a.conll", label_column="2")


def test_conll_is_no_plain_text(tmp_path: Path) -> None:
    (tmp_path / "a.iob2").write_text("a O\n")
    for read in (Documents, read_labelled):
        with pytest.raises(UserError, match="words with tags"):
            read(tmp_path / "a.iob2")


def test_tables_of_words(tmp_path: Path) -> None:
    path = table(
        tmp_path / "a.jsonl", {"tokens": ["in", "Rome"], "ner_tags": [0, 3]}, {"tokens": ["x"], "ner_tags": [0]}
    )
    read = read_tagged(path)
    assert read.texts[0] == TaggedText("in Rome", ((0, 2), (3, 7)), ("0", "3"), None, "a.jsonl, row 1")
    assert holds_tags(path)
    short = table(tmp_path / "b.jsonl", {"tokens": ["in", "Rome"], "tags": ["O"]})
    with pytest.raises(UserError, match=r"row 1: 2 words, but 1 tags"):
        read_tagged(short)


@pytest.mark.parametrize(
    "row",
    [
        {"text": "in Rome now", "spans": [{"start": 3, "end": 7, "label": "PLACE", "token_start": 1}]},
        {"text": "in Rome now", "label": [[3, 7, "PLACE"]]},
        {"text": "in Rome now", "entities": [{"start_offset": 3, "end_offset": 7, "label": "PLACE", "id": 9}]},
        {"text": "in Rome now", "entities": [[2, 8, "PLACE"]]},  # white space at the ends
    ],
)
def test_tables_of_spans(row: dict[str, Any], tmp_path: Path) -> None:
    path = table(tmp_path / "a.jsonl", {**row, next(name for name in row if name != "text"): []}, row)
    assert holds_tags(path)
    assert [text.spans for text in read_tagged(path).texts] == [(), (Span(3, 7, "PLACE"),)]


@pytest.mark.parametrize("span", [["a", 7, "PLACE"], [3, 7.5, "PLACE"], {"start": "a", "end": "b", "label": "PLACE"}])
def test_spans_whose_places_are_no_numbers_are_told_with_their_row(span: Any, tmp_path: Path) -> None:
    path = table(tmp_path / "a.jsonl", {"text": "in Rome now", "spans": [span]})
    assert holds_tags(path)
    with pytest.raises(UserError, match=r"a\.jsonl, row 1: the span .* needs a start and an end, whole numbers"):
        read_tagged(path)


def test_other_tables_are_not_taken(tmp_path: Path) -> None:
    rows = {"text": "in Rome", "label": "x"}, {"text": "in Rome", "tags": ["a", "b"]}
    assert not any(holds_tags(table(tmp_path / "a.jsonl", row)) for row in rows)
    with pytest.raises(UserError, match="no words with tags were found"):
        read_tagged(table(tmp_path / "a.jsonl", rows[0]))


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([[3, 12, "A"]], "outside the text of 11"),
        ([[-1, 2, "A"]], "outside the text"),
        ([[3, 3, "A"]], "holds nothing"),
        ([[2, 3, "A"]], "white space"),
        ([[0, 4, "A"], [3, 7, "B"]], "overlap"),
        ([[0, 4, None]], "needs a start"),
        (["Rome"], "is no span"),
        ("Rome", "no list"),
    ],
)
def test_wrong_spans(spans: Any, message: str) -> None:
    problem = read_spans(spans, "in Rome now")
    assert isinstance(problem, str)
    assert message in problem


@given(st.lists(st.text("aé😀中 ", min_size=1, max_size=9), min_size=3, max_size=3), st.booleans(), st.booleans())
def test_places_in_other_units_are_those_of_their_own_text(parts: list[str], javascript: bool, told: bool) -> None:
    """Whatever the text, where each span brings its own text or one row shows what places count."""
    before, own, _ = parts
    text = "".join(parts)
    if not own.strip():
        return

    def length(piece: str) -> int:
        return len(piece.encode("utf-16-le")) // 2 if javascript else len(piece.encode())

    span = {"start": length(before), "end": length(before) + length(own), "label": "A"}
    proof = ([{"start": length("😀 "), "end": length("😀 x"), "label": "A", "text": "x"}], "😀 x")
    cell = [span | ({"text": own} if told else {})]
    unit = unit_of([proof, (cell, text)])
    assert unit == ("UTF-16 code units" if javascript else "UTF-8 bytes")
    start = len(before) + len(own) - len(own.lstrip())
    assert read_spans(cell, text, unit) == [Span(start, start + len(own.strip()), "A")]


def test_a_span_that_contradicts_its_own_text_is_told_with_its_row(tmp_path: Path) -> None:
    good = {"start": 3, "end": 7, "label": "PLACE", "text": "Rome"}
    path = table(
        tmp_path / "a.jsonl",
        {"text": "in Rome now", "spans": [good]},
        {"text": "in Rome now", "spans": [good | {"start": 4}]},
    )
    with pytest.raises(UserError, match=r"row 2: the span PLACE from 4 to 7 is 'ome', but its own text is 'Rome'"):
        read_tagged(path)
    cut = {"start": 1, "end": 3, "label": "A"}  # inside the surrogate pair
    assert "cuts a character" in str(read_spans([cut], "😀 x", "UTF-16 code units"))


def test_rejected_annotations_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [
        {"text": f"{answer} Rome", "spans": [], "label": "x", "answer": answer}
        for answer in ("accept", "reject", "ignore", "accept")
    ]
    rows[0]["spans"] = [{"start": 7, "end": 11, "label": "PLACE"}]
    read = read_tagged(table(tmp_path / "a.jsonl", *rows), label_column="spans")
    assert [text.text for text in read.texts] == ["accept Rome", "accept Rome"]
    assert read.notes[-1] == "rows left out by their column 'answer': 1 'reject', 1 'ignore'"
    labelled = read_labelled(tmp_path / "a.jsonl", label_column="label")
    assert len(labelled.inputs) == 2
    assert "1 'reject', 1 'ignore'" in labelled.notes[-1]
    assert len(read_labelled(tmp_path / "a.jsonl", label_column="answer").inputs) == 4  # it is what is learned
    others = [row | {"answer": "perhaps"} for row in rows]
    assert len(read_labelled(table(tmp_path / "b.jsonl", *rows, *others), label_column="label").inputs) == 8


def test_spans_are_runs_of_the_units_that_they_touch() -> None:
    units = [(0, 2), (2, 6), (7, 9)]
    every = range(3)
    assert fit([Span(0, 2, "A"), Span(7, 9, "B")], units, every) == ([(0, 1, "A"), (2, 3, "B")], [])
    assert fit([Span(3, 4, "A"), Span(4, 8, "B")], units, every) == ([(1, 2, "A"), (2, 3, "B")], [0, 1])
    assert fit([Span(3, 4, "A"), Span(4, 5, "B")], units, every) == ([(1, 2, "A")], [0, 1])
    assert fit([Span(2, 9, "A")], units, {0, 1}) == ([(1, 3, "A")], [0])
    assert bio([(0, 1, "A"), (1, 3, "B")], 4) == ["B-A", "B-B", "I-B", "O"]


def test_a_word_in_each_row(tmp_path: Path) -> None:
    """A sentence is named in each of its rows, or in its first only."""
    path = tmp_path / "a.csv"
    for second in ("s 1", ""):
        path.write_text(f"Sentence #,Word,POS,Tag\ns 1,in,IN,O\n{second},Rome,NNP,B-PLACE\ns 2,12,CD,O\n")
        read = read_tagged(path)
        assert [words_of_text(text) for text in read.texts] == [["in", "Rome"], ["12"]]
        assert [text.tags for text in read.texts] == [("O", "B-PLACE"), ("O",)]
        assert [text.origin for text in read.texts] == ["a.csv, row 2", "a.csv, row 4"]
    assert read_tagged(path, label_column="POS").texts[0].tags == ("IN", "NNP")
    assert holds_tags(path)
    path.write_text("sentence,label\nA whole one.,good\nAnother,bad\n")
    assert not holds_tags(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,in,O\n1,,O\n", r"row 3: column 'word': the text is empty"),
        ("1,in,O\n1,Rome,\n", r"row 3: column 'tag'"),
        ("1,in,O\n2,Rome,O\n1,x,O\n", r"row 4: the sentence '1' has ended before"),
    ],
)
def test_wrong_word_rows(rows: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sentence,word,tag\n" + rows)
    with pytest.raises(UserError, match=message):
        read_tagged(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "feature",
    [
        {"feature": {"names": ["O", "B-X"], "_type": "ClassLabel"}, "_type": "Sequence"},
        {"feature": {"names": ["O", "B-X"], "_type": "ClassLabel"}, "_type": "List"},
        [{"names": ["O", "B-X"], "_type": "ClassLabel"}],
    ],
)
def test_numbers_of_tags_have_their_names_in_a_parquet(feature: Any, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"tokens": [["in", "Rome"], ["x"]], "ner_tags": [[0, 1], [0]]})
    told = {"info": {"features": {"ner_tags": feature, "tokens": {"feature": {"dtype": "string"}, "_type": "List"}}}}
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(told)}), tmp_path / "a.parquet")
    assert [text.tags for text in read_tagged(tmp_path / "a.parquet").texts] == [("O", "B-X"), ("O",)]
