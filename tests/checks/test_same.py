"""What duplicates tell."""

from __future__ import annotations

from array import array

import numpy as np

from patchword.checks.same import contradictions, leakage, repeats
from patchword.data.duplicates import duplicate_groups, same_inputs
from patchword.data.sources import Labelled, Origins


def rows(*pairs: tuple[str, str]) -> Labelled:
    origins = Origins(["a.csv"], array("q", [0] * len(pairs)), array("q", range(2, len(pairs) + 2)))
    return Labelled("text", [text for text, _ in pairs], [label for _, label in pairs], origins)


def test_the_same_text_with_two_labels_is_told_with_its_rows() -> None:
    data = rows(("It broke!", "bad"), ("fine", "good"), ("it  broke", "good"), ("Fine", "good"), ("it broke", "good"))
    (found,) = contradictions(data, "data", same_inputs(data.inputs))
    assert found.places == ["a.csv, row 2: bad", "a.csv, row 4: good"]
    assert "1, in 3 rows" in found.title
    data = data.subset([0, 1, 3])
    assert contradictions(data, "data", same_inputs(data.inputs)) == []


def test_pairs_of_texts_are_the_same_only_if_both_are() -> None:
    origins = Origins(["a.csv"], array("q", [0] * 3), array("q", [2, 3, 4]))
    data = Labelled("text", [("a b", "c"), ("a", "b c"), ("A b.", "c")], ["x", "y", "x"], origins)
    assert contradictions(data, "data", same_inputs(data.inputs)) == []
    assert same_inputs(data.inputs).tolist() == [0, 1, 0]


def test_repeats_are_counted_once_as_the_same_or_as_nearly() -> None:
    long = " ".join(f"word{i}" for i in range(100))
    data = rows(("a", "x"), ("b", "x"), ("A.", "x"), ("a", "x"), (long, "x"), (f"{long} more", "x"))
    texts = [str(text) for text in data.inputs]
    exact, near = repeats(data, "data", same_inputs(texts), duplicate_groups(texts))
    assert "the same as an earlier one: 2 of 6" in exact.title
    assert exact.places == ["a.csv, row 2 and a.csv, row 4"]
    assert "nearly the same as an earlier one: 1 of 6" in near.title
    assert near.places == ["a.csv, row 6 and a.csv, row 7"]


def test_rows_of_another_split_that_are_in_training_are_counted() -> None:
    test = rows(("new", "a"), ("Hello, there", "b"), ("third", "a"))
    (found,) = leakage("test", test, np.array([0, 1]), np.array([2, 1, 0]))
    assert found.places == ["a.csv, row 3", "a.csv, row 4"]
    assert "2 of 3" in found.title
    assert "1 test rows would remain" in found.what_to_do
    assert leakage("test", test, np.array([0, 1]), np.array([2, 3, 4])) == []
