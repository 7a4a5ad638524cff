"""Reading questions: every form gives the same, and what is wrong is told with its place."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchword.data.files import find_files
from patchword.data.squad import holds_questions, read_questions
from patchword.errors import UserError

CONTEXT = "The river Döbern flows north.\nIts mouth is in the north."
ROWS: list[dict[str, Any]] = [
    {"question": "Which river?", "context": CONTEXT, "answers": {"text": ["river Döbern"], "answer_start": [4]}},
    {"question": "Where to?", "context": CONTEXT, "answers": {"text": ["north", "north"], "answer_start": [23, 50]}},
    {"question": "Who?", "context": CONTEXT, "answers": {"text": [], "answer_start": []}},
]
ANSWERS = [[("river Döbern", 4)], [("north", 23), ("north", 50)], []]


def one_by_one(row: dict[str, Any]) -> list[dict[str, Any]]:
    pairs = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
    return [{"text": text, "answer_start": start} for text, start in pairs]


def write_nested(path: Path) -> None:
    asked = [{"id": str(i), "question": row["question"], "answers": one_by_one(row)} for i, row in enumerate(ROWS)]
    asked[2] |= {"is_impossible": True, "plausible_answers": [{"text": "north", "answer_start": 23}]}
    article = {"title": "Rivers", "paragraphs": [{"context": CONTEXT, "qas": asked}]}
    path.write_text(json.dumps({"version": "v2.0", "data": [article]}), "utf-8")


def write_lines(path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")


def write_list(path: Path) -> None:
    path.write_text(json.dumps([row | {"answers": one_by_one(row)} for row in ROWS]), "utf-8")


def write_parquet(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), path)


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.json", write_nested), ("b.jsonl", write_lines), ("c.json", write_list), ("d.parquet", write_parquet)],
)
def test_every_form_gives_the_same_questions(name: str, write: Any, tmp_path: Path) -> None:
    write(tmp_path / name)
    assert holds_questions(tmp_path / name)
    read = read_questions(tmp_path / name)
    assert list(read.questions) == [row["question"] for row in ROWS]
    assert list(read.contexts) == [CONTEXT] * 3
    assert list(map(list, read.answers)) == ANSWERS
    assert read.unanswerable == 1


def test_parts_of_a_file_know_their_rows_and_have_fingerprints_of_their_own(tmp_path: Path) -> None:
    write_lines(tmp_path / "q.jsonl")
    read = read_questions(tmp_path / "q.jsonl")
    some = read.subset([2, 0])
    assert list(some.origins) == ["q.jsonl, row 3", "q.jsonl, row 1"]
    assert some.inputs == [("Who?", CONTEXT), ("Which river?", CONTEXT)]
    prints = [part.fingerprint for part in (read, some, read.subset([2, 0]), read.subset([0, 2]))]
    assert prints[1] == prints[2]
    assert len(set(prints)) == 3


def csv_of(folder: Path, *rows: tuple[str, ...], header: tuple[str, ...] = ("question", "context", "answer")) -> Path:
    path = folder / "q.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_a_csv_finds_the_answer_in_the_context_and_tells_where_it_is_not_sure(tmp_path: Path) -> None:
    path = csv_of(tmp_path, ("Which?", CONTEXT, "Döbern"), ("Where?", CONTEXT, "north"), ("Who?", CONTEXT, ""))
    read = read_questions(path)
    assert list(map(list, read.answers)) == [[("Döbern", 10)], [("north", 23)], []]
    assert any(note.startswith("1 answers stand more than once") for note in read.notes)
    with_start = csv_of(
        tmp_path, ("Where?", CONTEXT, "north", "50"), header=("question", "context", "answer", "answer_start")
    )
    assert list(read_questions(with_start).answers) == [[("north", 50)]]


def spoilt(**changes: Any) -> dict[str, Any]:
    return ROWS[0] | changes


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (spoilt(answers={"text": ["Döbern"], "answer_start": [9]}), r"answer_start 9 \(' Döber' is\); it stands at 10"),
        (spoilt(answers={"text": ["Elbe"], "answer_start": [4]}), "it stands nowhere in the context"),
        (spoilt(answers={"text": ["north"], "answer_start": [-6]}), r"answer_start -6 .* it stands at 23"),
        (spoilt(answers={"text": ["north"], "answer_start": []}), "equal length"),
        (spoilt(answers={"text": ["north"], "answer_start": ["x"]}), "not a whole number"),
        (spoilt(answers="Elbe"), "does not stand in the context"),
        (spoilt(answers=7), "'7' is no answer"),
        (spoilt(answers=None), "no answers"),
        (spoilt(question=" "), "question: the text is empty"),
        (spoilt(context=None), "context: no text"),
    ],
)
def test_a_wrong_row_is_told_with_its_place(row: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in (ROWS[0], row)), "utf-8")
    with pytest.raises(UserError, match=rf"q\.jsonl, row 2: .*{told}"):
        read_questions(path)


@pytest.mark.parametrize("missing", ["question", "context", "answers"])
def test_a_missing_column_is_told(missing: str, tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({name: cell for name, cell in ROWS[0].items() if name != missing}) + "\n", "utf-8")
    assert not holds_questions(path)
    with pytest.raises(UserError, match="has no column 'answer'" if missing == "answers" else f"'{missing}'"):
        read_questions(path)


@pytest.mark.parametrize(
    "text", ["{", "7", '{"data": [{"paragraphs": 3}]}', '{"data": [{"paragraphs": [{"context": "a"}]}]}', "[1]"]
)
def test_json_of_another_kind_is_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "q.json"
    path.write_text(text, "utf-8")
    with pytest.raises(UserError, match=r"q\.json is no table in JSON"):
        read_questions(path)


def test_a_json_beside_other_data_in_a_folder_is_not_data(tmp_path: Path) -> None:
    (tmp_path / "q.json").write_text("[]", "utf-8")
    assert [path.name for path in find_files(tmp_path)] == ["q.json"]
    (tmp_path / "notes.txt").write_text("a", "utf-8")
    assert [path.name for path in find_files(tmp_path)] == ["notes.txt"]
