"""`check` on files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import patchword as pw
from patchword.checks.findings import Harm
from patchword.cli.main import app
from patchword.data.sources import read_labelled
from patchword.errors import UserError


@pytest.fixture
def nasty(tmp_path: Path) -> Path:
    """A byte order mark, semicolons, empty rows, a missing label, a contradiction, a typo, wrong decoding."""
    lines = ["text;label", "Great phone;positive", "Great phone!;negative", ";positive", "   ;negative"]
    lines += [f"good thing number {word};positive" for word in ("one", "two", "three", "four", "five")]
    lines += [f"bad thing number {word};negative" for word in ("one", "two", "three", "four", "five")]
    lines += ["CafÃ© was nice;postive", "nobody knows;", ";"]
    path = tmp_path / "nasty.csv"
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    return path


def test_everything_that_is_wrong_is_told_with_its_row(nasty: Path) -> None:
    report = pw.check(nasty)
    places = {finding.title: finding.places for finding in report.findings if finding.severity == "problem"}
    (unusable,) = [title for title in places if "can not be used" in title]
    assert "4 of 17" in unusable
    assert [place.split("nasty.csv, ")[1] for place in places[unusable]] == [
        "row 4: the text is empty",
        "row 5: the text is empty",
        "row 17: nothing in the column 'label'",
        "row 18: the text is empty",
        "row 18: nothing in the column 'label'",
    ]
    assert places["data: texts that are the same but have different labels: 1, in 2 rows"] == [
        "nasty.csv, row 2: positive",
        "nasty.csv, row 3: negative",
    ]
    assert places["data: texts that were decoded wrongly (such as Ã© for é): 1 of 13"] == ["nasty.csv, row 16"]
    assert places["Pairs of labels with names that look like one label: 1"] == [
        "'postive' (rows: 1) and 'positive' (6)"
    ]
    assert report.numbers["data"]["rows"] == 13
    with pytest.raises(UserError, match="the text is empty"):  # what training reads is as strict as before
        read_labelled(nasty)


def test_the_command_tells_it_and_is_strict_if_asked(nasty: Path) -> None:
    run = CliRunner().invoke
    told = run(app, ["check", str(nasty)])
    assert told.exit_code == 0
    assert "row 17: nothing in the column 'label'" in told.output
    assert told.output.strip().splitlines()[-1].startswith("4 problems to mend, ")
    assert run(app, ["check", str(nasty), "--strict"]).exit_code == 1
    found = json.loads(run(app, ["check", str(nasty), "--json"]).output)
    assert found["problems"] == 4
    assert found["numbers"]["data"]["labels"] == {"negative": 6, "positive": 6, "postive": 1}


def test_clean_data_have_no_problems(tmp_path: Path) -> None:
    path = tmp_path / "fine.csv"
    path.write_text("text,label\n" + "".join(f"thing {i} of many,{'ab'[i % 2]}\n" for i in range(20)), "utf-8")
    report = pw.check(path)
    assert report.findings == []
    assert report.summary == "0 problems to mend, 0 to look at"


def test_texts_without_labels_are_checked_too(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one line\n<b>two</b>\n", "utf-8")
    titles = [finding.title for finding in pw.check(tmp_path / "a.txt").findings]
    assert titles == ["data: there are no labels that can be used", "data: texts with HTML: 1 of 2"]


def test_words_are_checked_like_other_texts(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    sentences = [f"{name} B-NAME\nruns O\n{number} B-NUM\n" for number, name in enumerate(["Anna", "Bob", "Eve"] * 4)]
    path.write_text("\n".join([*sentences, "Max B-NAMES\nruns O\n", "Max B-NAME\nruns O\n"]), "utf-8")
    (tmp_path / "test.conll").write_text(f"{sentences[0]}\nTim B-PLACE\nsings O\n", "utf-8")
    report = pw.check(path, test=tmp_path / "test.conll")
    assert report.about[:3] == [
        "These are data for token classification.",
        "data: 14 texts",
        "  3 labels: NAME 13, NUM 12, NAMES 1",
    ]
    titles = " | ".join(finding.title for finding in report.findings)
    assert "'NAME' (rows: 13) and 'NAMES' (1)" in " ".join(" ".join(finding.places) for finding in report.findings)
    assert "same but have different labels: 1" in titles
    assert "test rows that are, or nearly are, in the training data: 1 of 2" in titles
    assert "PLACE" in " ".join(" ".join([found.title, *found.places]) for found in report.findings)
    path.write_text("Anna B-NAME\nruns\n", "utf-8")
    (found,) = pw.check(path).findings
    assert found.severity == "problem"
    assert "a.conll" in found.places[0]


def test_questions_and_documents_are_checked_for_what_they_share(tmp_path: Path) -> None:
    context = "The pump runs at two bars and its valve opens at three."
    rows = [
        {
            "question": f"What opens at {n}?",
            "context": f"{context} Part {n} of them.",
            "answers": {"text": ["pump"], "answer_start": [4]},
        }
        for n in range(4)
    ]
    for name, some in (("train", rows), ("test", [rows[1]])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some), "utf-8")
    report = pw.check(tmp_path / "train.jsonl", test=tmp_path / "test.jsonl")
    assert report.about[0] == "These are data for question answering."
    assert report.numbers["data"]["rows"] == 4
    assert any("in the training data: 1 of 1" in finding.title for finding in report.findings)


def test_a_broken_table_is_a_finding_and_a_missing_one_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,b,c\n", "utf-8")
    (found,) = pw.check(tmp_path / "a.csv").findings
    assert "row 2: 3 cells" in found.places[0]
    with pytest.raises(UserError, match="does not exist"):
        pw.check(tmp_path / "b.csv")


def test_leaks_between_splits(tmp_path: Path) -> None:
    long = " ".join(f"w{i}" for i in range(60))
    rows = {"train": ["one thing", f"{long} a b"], "validation": ["two things", "ONE thing."], "test": ["two things"]}
    rows["test"].append(" ".join(f"w{i}" for i in range(10, 50)) + " and so on it goes until here")
    for name, texts in rows.items():
        text = "".join(f"{text},{'xy'[i % 2]}\n" for i, text in enumerate(texts))
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{text}", "utf-8")
    train, validation, test = (tmp_path / f"{name}.csv" for name in rows)
    found = {finding.title: finding.places for finding in pw.check(train, validation=validation, test=test).findings}
    assert found["validation rows that are, or nearly are, in the training data: 1 of 2"] == ["validation.csv, row 3"]
    assert found["test rows that are in validation: 1 of 2"] == ["test.csv, row 2"]
    (shared,) = [title for title in found if "runs of 8 words" in title]
    assert found[shared] == ["test.csv, row 3"]


def test_findings_are_sorted_by_harm(tmp_path: Path) -> None:
    """A leak before one odd character, whatever their numbers; everything wrong at once."""
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
    train = [(f"a {kind} thing number {word}", kind) for word in words for kind in ("good", "bad")]
    train += [("the lost \ufffd character", "good"), ("", "bad"), ("twice said", "good"), ("twice said", "bad")]
    train += [(f"<b>{word}</b> in bold", "good") for word in words] + [("a typo", "goood")]
    test = [("a good thing number one", "good"), ("quite another thing", "awful")]
    for name, some in (("train", train), ("test", test)):
        (tmp_path / f"{name}.csv").write_text(
            "text,label\n" + "".join(f"{text},{label}\n" for text, label in some), "utf-8"
        )
    report = pw.check(tmp_path / "train.csv", test=tmp_path / "test.csv")
    harms = [finding.harm for finding in report.findings]
    assert harms == sorted(harms)
    assert harms[:5] == [Harm.LEAK, Harm.LABEL_SETS, Harm.UNUSABLE_ROWS, Harm.CONTRADICTION, Harm.WRONG_TEXT]
    severities = [finding.severity for finding in report.findings]
    assert severities == sorted(severities, reverse=True)  # "problem" before "look"
    assert report.as_dict()["findings"][0]["harm"] == "leak"


def test_what_was_assumed_about_a_file_is_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text,label\nEin schöner Tag,gut\nübel genug,schlecht\n".encode("cp1252"))
    for _ in range(2):  # however often it was read before
        titles = [finding.title for finding in pw.check(tmp_path / "a.csv").findings]
        assert any("probably Windows-1252" in title for title in titles)


def test_class_names_that_look_like_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n" + "slow start,1.1\nslow stop,1.10\n" * 6, "utf-8")
    assert pw.check(tmp_path / "a.csv").numbers["data"]["labels"] == {}
    counted = pw.check(tmp_path / "a.csv", problem="single_label_classification").numbers["data"]["labels"]
    assert counted == {"1.1": 6, "1.10": 6}
    with pytest.raises(UserError, match="no problem 'single'"):
        pw.check(tmp_path / "a.csv", problem="single")
