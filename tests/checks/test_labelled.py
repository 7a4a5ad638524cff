"""Checks of labelled texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchword.checks.labelled import contradictions, leakage, look_alikes
from patchword.data.sources import Labelled, read_labelled


def table(path: Path, *rows: tuple[str, str]) -> Labelled:
    path.write_text("text,label\n" + "".join(f'"{text}","{label}"\n' for text, label in rows), "utf-8")
    return read_labelled(path, text_column="text", label_column="label")


def test_the_same_text_with_two_labels_is_told_with_its_rows(tmp_path: Path) -> None:
    data = table(tmp_path / "a.csv", ("It broke!", "bad"), ("fine", "good"), ("it  broke", "good"), ("Fine", "good"))
    (found,) = contradictions(data)
    assert found.places == [f"{data.origins[0]}: bad", f"{data.origins[2]}: good"]
    assert contradictions(data.subset([0, 1, 3])) == []


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("Refund", "refund ", True),
        ("refund", "refunds", True),
        ("delivery", "delivrey", False),
        ("delivery", "delivry", True),
        ("delivery", "delixery", True),
        ("-1", "1", False),
        ("C", "C++", False),
        ("C", "C#", False),
        ("cat", "car", False),
    ],
)
def test_labels_that_look_alike(tmp_path: Path, one: str, other: str, alike: bool) -> None:
    data = Labelled("text", ["a", "b"], [one, other], table(tmp_path / "a.csv", ("a", "x"), ("b", "y")).origins)
    assert bool(look_alikes(data)) is alike


def test_rows_of_another_split_that_are_in_training_are_counted(tmp_path: Path) -> None:
    long = " ".join(f"word{i}" for i in range(100))
    train = table(tmp_path / "train.csv", (long, "a"), ("hello there", "b"))
    test = table(tmp_path / "test.csv", ("new", "a"), ("Hello, there", "b"), (f"{long} more", "a"))
    (found,) = leakage(train, test, "test")
    assert found.places == [test.origins[1], test.origins[2]]
    assert "2 of 3" in found.title
    assert "1 test rows would remain" in found.what_to_do
    assert leakage(train, test.subset([0]), "test") == []
