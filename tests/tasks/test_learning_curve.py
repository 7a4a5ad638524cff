"""Learning curves: the law that data were made by is found again, and no law is promised where there is none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from patchword.tasks.learning_curve import in_proportion, learning_curve, power_law, told, twice

COUNTS = [25, 50, 100, 200]


def certain(a: float, b: float, rows: int) -> np.ndarray:
    """Which rows are wrong at each count, `[K, rows]`: as many as the law a n^-b says, without chance."""
    return np.stack([np.arange(rows) < round(rows * a * n**-b) for n in COUNTS])


def test_a_power_law_is_found_again() -> None:
    n = np.array(COUNTS, float)
    errors = np.stack([1.5 * n**-0.4, 0.9 * n**-0.05])
    a, b = power_law(n, errors)
    np.testing.assert_allclose(a, [1.5, 0.9])
    np.testing.assert_allclose(b, [0.4, 0.05])


def test_the_slope_is_that_of_numpy() -> None:
    random = np.random.default_rng(0)
    errors = random.uniform(0.1, 0.9, 4)
    slope, height = np.polyfit(np.log(COUNTS), np.log(errors), 1)
    a, b = power_law(np.array(COUNTS, float), errors)
    assert (float(a), float(b)) == pytest.approx((np.exp(height), -slope))


def test_twice_as_many_labels_are_foretold() -> None:
    then, low, high = twice(COUNTS, certain(1.5, 0.3, 20_000))
    assert then == pytest.approx(1 - 1.5 * 400**-0.3, abs=1e-3)
    assert low < then < high < low + 0.05


def test_the_interval_holds_the_truth_in_most_of_many_samples() -> None:
    hits = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        wrong = np.stack([random.random(300) < 2.0 * n**-0.35 for n in COUNTS])
        _, low, high = twice(COUNTS, wrong)
        # What is foretold goes on from what was measured, so that is what the truth begins with here, too.
        hits += low <= 1 - wrong[-1].mean() * 2**-0.35 <= high
    assert 85 <= hits <= 100


def test_the_sentence_says_what_more_labels_bring() -> None:
    text = told("linear probe", COUNTS, certain(1.5, 0.3, 4000), 5)
    now = 1 - 1.5 * 200**-0.3
    assert f"With 200 labels, a linear probe reaches an accuracy of {now:.3f} (5-fold cross-validation on 4,000" in text
    assert f"expected to reach about {1 - 1.5 * 400**-0.3:.2f}" in text
    random = np.random.default_rng(1)
    unsure = random.random((4, 40)) < np.array([[0.45], [0.44], [0.42], [0.38]])
    assert "cannot be decided from these rows" in told("linear probe", COUNTS, unsure, 5)
    assert "hardly improve" in told("linear probe", COUNTS, np.broadcast_to(random.random(2000) < 0.4, (4, 2000)), 5)
    assert "hardly improve" in told("linear probe", COUNTS, certain(0.0, 0.0, 100), 5)


def test_parts_are_nested_and_every_class_keeps_its_proportion() -> None:
    targets = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [160, 32, 8]))
    found = in_proportion(targets, COUNTS, 3)
    assert [len(rows) for rows in found] == COUNTS
    for smaller, larger in itertools.pairwise(found):
        assert set(smaller) < set(larger)
    for count, rows in zip(COUNTS, found, strict=True):
        expected = np.array([0.8, 0.16, 0.04]) * count
        assert np.abs(np.bincount(targets[rows], minlength=3) - expected).max() <= 1.5
    assert set(in_proportion(targets, [25], 4)[0]) != set(found[0])


def test_a_curve_is_measured_on_every_row_by_a_method_that_has_not_seen_it() -> None:
    targets, folds = np.arange(60) % 2, np.arange(60) // 12
    seen = []

    def fit(learn: np.ndarray, asked: np.ndarray) -> np.ndarray:
        assert not set(learn) & set(asked)
        assert len(set(folds[asked])) == 1
        seen.append((len(learn), tuple(asked)))
        return np.where(asked % 10 < len(learn) // 6, targets[asked], 1 - targets[asked])

    curve = learning_curve({"probe": fit}, targets, folds)
    assert curve is not None
    assert curve["counts"] == [6, 12, 24, 48]
    assert (curve["rows"], curve["folds"]) == (60, 5)
    for count, accuracy, expected in zip(curve["counts"], curve["probe"], [0.1, 0.2, 0.4, 0.8], strict=True):
        assert sorted(row for size, rows in seen if size == count for row in rows) == list(range(60))
        assert accuracy == pytest.approx(expected)
    assert "With 48 labels, a probe reaches an accuracy of 0.800" in curve["told"]


@pytest.mark.parametrize("rows", [15, 2001])
def test_too_few_and_many_rows_have_no_curve(rows: int) -> None:
    assert learning_curve({}, np.zeros(rows, int), np.arange(rows) % 5) is None
