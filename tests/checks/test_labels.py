"""Checks of labels."""

from __future__ import annotations

import itertools
import time
from array import array
from typing import Any

import pytest

from patchword.checks.labels import label_counts, label_findings, look_alikes, unknown_labels
from patchword.data.sources import Labelled, Origins


def rows(labels: list[Any]) -> Labelled:
    origins = Origins(["a.csv"], array("q", [0] * len(labels)), array("q", range(2, len(labels) + 2)))
    return Labelled("text", ["text"] * len(labels), labels, origins)


@pytest.mark.parametrize(
    ("one", "other", "severity"),
    [
        ("Refund", "refund ", "problem"),
        ("not-paid", "not paid", "problem"),
        ("refund", "refunds", "look"),
        ("cat", "cats", "look"),
        ("A", "a", "look"),
        ("delivery", "delivrey", None),
        ("delivery", "delivry", "look"),
        ("delivery", "delixery", "look"),
        ("delivery", "deliver", "look"),
        ("delivery", "pickup", None),
        ("-1", "1", None),
        ("C", "C++", None),
        ("C", "C#", None),
        ("cat", "car", None),
    ],
)
def test_names_that_look_alike(one: str, other: str, severity: str | None) -> None:
    assert [found.severity for found in look_alikes(rows([one, other]))] == ([severity] if severity else [])


def test_a_rare_name_beside_a_common_one_is_a_typo_but_a_plural_is_not() -> None:
    assert [found.severity for found in look_alikes(rows(["positive"] * 5 + ["postive"]))] == ["problem"]
    assert [found.severity for found in look_alikes(rows(["positive"] * 5 + ["positives"]))] == ["look"]


def test_thousands_of_names_take_no_time_by_pairs() -> None:
    names = [f"label {''.join(letters)} name" for letters in itertools.product("abcdefghijklmnop", repeat=3)]
    start = time.process_time()
    look_alikes(rows(names))
    assert time.process_time() - start < 5


def test_few_rows_of_a_class_and_classes_of_different_size() -> None:
    found = label_findings(rows(["many"] * 100 + ["few"] * 4 + ["enough"] * 6))
    assert [finding.places for finding in found] == [["few: 4"], ["many: 100", "few: 4"]]
    assert label_findings(rows(["a"] * 20 + ["b"] * 20)) == []
    assert label_findings(rows(["a"] * 20))[0].severity == "problem"


def test_labels_are_counted_one_by_one_and_decimals_never() -> None:
    assert label_counts(rows([["a", "b"], ["b"], []])) == {"b": 2, "a": 1}
    assert label_counts(rows([1, 2, 2])) == {"2": 2, "1": 1}
    assert label_counts(rows([0.5, 1.25])) == {}
    assert label_findings(rows([0.5, 1.25])) == []


def test_labels_that_nobody_can_learn() -> None:
    (found,) = unknown_labels(rows(["a", "b"]), rows(["a", "c", "c"]), "test")
    assert found.places == ["c: 2"]
    assert unknown_labels(rows(["a", "b"]), rows(["a"]), "test") == []
