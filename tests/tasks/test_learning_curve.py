"""Learning curves: the law that data were made by is found again, and no law is promised where there is none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from patchword.tasks.learning_curve import in_proportion, learning_curve, power_law, told, twice

COUNTS = [25, 50, 100, 200]


def certain(a: float, b: float, rows: int) -> list[np.ndarray]:
    """Which rows are wrong, `[2, rows]` a count: as many as the law a n^-b says, without chance."""
    return [np.broadcast_to(np.arange(rows) < round(rows * a * n**-b), (2, rows)) for n in COUNTS]


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
        wrong = [random.random((5 if n < 200 else 1, 300)) < 2.0 * n**-0.35 for n in COUNTS]
        _, low, high = twice(COUNTS, wrong)
        # What is foretold goes on from what was measured, so that is what the truth begins with here, too.
        hits += low <= 1 - wrong[-1].mean() * 2**-0.35 <= high
    assert 85 <= hits <= 100


def test_the_sentence_says_what_more_labels_bring() -> None:
    text = told("linear probe", COUNTS, certain(1.5, 0.3, 4000))
    now, then = 1 - 1.5 * 200**-0.3, 1 - 1.5 * 400**-0.3
    assert f"200 labels bring a linear probe to an accuracy of {now:.3f}; twice as many" in text
    assert f"to about {then:.2f}" in text
    random = np.random.default_rng(1)
    unsure = [random.random((5, 40)) < 0.4 for _ in COUNTS]
    assert "may be no further at all" in told("linear probe", COUNTS, unsure)
    flat = [random.random((5, 2000)) < 0.4 for _ in COUNTS]
    assert "hardly any further" in told("linear probe", COUNTS, flat)
    assert "hardly any further" in told("linear probe", COUNTS, certain(0.0, 0.0, 100))


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


def test_a_curve_learns_from_the_parts() -> None:
    targets, truth = np.arange(40) % 2, np.arange(10) % 2
    seen = []

    def fit(rows: np.ndarray) -> np.ndarray:
        seen.append(len(rows))
        return np.where(np.arange(10) < len(rows) // 4, truth, 1 - truth)

    curve = learning_curve({"probe": fit}, targets, truth)
    assert curve is not None
    assert curve["counts"] == [5, 10, 20, 40]
    assert seen == [5] * 5 + [10] * 5 + [20] * 5 + [40]
    for of_count, accuracy in zip(curve["probe"], [0.1, 0.2, 0.5, 1.0], strict=True):
        assert of_count == pytest.approx([accuracy] * len(of_count))
    assert "40 labels bring a probe to an accuracy of 1.000" in curve["told"]


@pytest.mark.parametrize("rows", [15, 2001])
def test_too_few_and_many_rows_have_no_curve(rows: int) -> None:
    assert learning_curve({}, np.zeros(rows, int), np.zeros(3, int)) is None
