"""What `finetune` finds out before it learns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from patchword.checks.quick import quick_findings
from patchword.data.sources import Labelled, read_labelled


def table(path: Path, rows: list[tuple[str, str]]) -> Labelled:
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows))
    return read_labelled(path)


ROWS = [(f"the {kind} number {i} is late", kind) for i in range(10) for kind in ("bill", "parcel")]


def test_clean_rows_give_nothing(tmp_path: Path) -> None:
    test = table(tmp_path / "test.jsonl", [("a bill that nobody paid", "bill"), ("my parcel is lost", "parcel")])
    assert quick_findings(table(tmp_path / "a.jsonl", ROWS), {"test": test}) == []


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_held_out_row_that_is_learnt_from_is_a_problem_with_its_row(tmp_path: Path, part: str) -> None:
    held_out = table(
        tmp_path / "apart.jsonl", [("my parcel is lost", "parcel"), ("The BILL number 3 is late.", "bill")]
    )
    (found,) = quick_findings(table(tmp_path / "a.jsonl", ROWS), {part: held_out})
    assert found.severity == "problem"
    assert part in found.title
    assert "apart.jsonl, row 2" in found.sentence()


def test_one_text_with_two_labels_is_the_first_thing_told(tmp_path: Path) -> None:
    rows = [*ROWS, ("the bill number 1 is late", "parcel")]
    found = quick_findings(table(tmp_path / "a.jsonl", rows), {})
    assert found[0].severity == "problem"
    assert "different labels" in found[0].title
