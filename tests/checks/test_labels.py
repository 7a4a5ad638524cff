"""Checks of labels."""

from __future__ import annotations

import itertools
import time
from array import array
from typing import Any

import numpy as np
import pytest

from patchword.checks.labels import (
    compared_labels,
    label_counts,
    label_findings,
    label_sets_of_files,
    look_alikes,
)
from patchword.data.label_cells import SINGLE, NumberText
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
    (found,) = compared_labels(rows(["a", "b"]), rows(["a", "c", "c"]), "test")
    assert found.places == ["c: 2"]
    assert compared_labels(rows(["a", "b"]), rows(["a"]), "test") == []


def of_files(**labels: list[Any]) -> Labelled:
    """Rows of several tables."""
    counts = [len(some) for some in labels.values()]
    files = [f"{name}.csv" for name in labels]
    origins = Origins(
        files, array("q", [i for i, n in enumerate(counts) for _ in range(n)]), array("q", range(sum(counts)))
    )
    flat = [label for some in labels.values() for label in some]
    return Labelled("text", [f"text {i}" for i in range(len(flat))], flat, origins, {"label": "label"})


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"a": ["neg", "pos"] * 5, "b": ["negative", "positive"] * 5}, True),
        ({"a": ["neg", "pos"], "b": ["negative", "positive"]}, True),
        ({"a": ["neg", "pos"] * 20, "b": ["neg", "pos", "neutral"] * 20}, True),
        ({"a": [["x", "y"]] * 20, "b": [["x", "z"]] * 20}, True),
        ({"a": ["neg", "pos"] * 20, "b": ["neg", "pos"] * 20}, False),
        ({"a": ["neg", "pos"] * 20 + ["rare"], "b": ["neg", "pos"] * 20 + ["seldom"]}, False),
        ({"cats": ["cat"] * 20, "dogs": ["dog"] * 20}, False),  # a file for each class
        ({"a": ["neg", "pos"] * 20}, False),
        ({"a": [1.5, 2.5], "b": [3.5, 4.5]}, False),
    ],
)
def test_files_with_labels_of_their_own_are_reported(files: dict[str, list[Any]], told: bool) -> None:
    found = label_sets_of_files(of_files(**files))
    assert len(found) == told
    if told:
        assert found[0].severity == "problem"
        assert any("b.csv: only there" in place for place in found[0].places)


def test_rows_dealt_at_random_have_no_labels_of_their_own() -> None:
    """Labels of a long tail, 40 shuffles: at most one false alarm."""
    random = np.random.default_rng(0)
    names = [f"label {min(int(x), 60)}" for x in random.exponential(8, 600)]
    alarms = 0
    for _ in range(40):
        random.shuffle(names)
        alarms += len(label_sets_of_files(of_files(a=names[:200], b=names[200:])))
    assert alarms <= 1


def test_a_split_without_labels_of_the_training_data_is_reported_unless_by_chance() -> None:
    train = rows(["a", "b", "c"] * 30)
    (found,) = compared_labels(train, rows(["a", "b"] * 20), "validation")
    assert found.severity == "problem"
    assert found.places == ["c: 30"]
    assert compared_labels(train, rows(["a", "b"]), "validation") == []
    assert compared_labels(rows(["a", "b"] * 50 + ["c"]), rows(["a", "b"] * 20), "test") == []


def test_class_names_that_look_like_numbers_are_counted_where_classes_are_asked_for() -> None:
    data = rows([NumberText("1.1"), NumberText("1.10")])
    assert label_counts(data) == {}
    assert label_counts(data, SINGLE) == {"1.1": 1, "1.10": 1}
