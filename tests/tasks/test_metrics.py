"""Metrics against scikit-learn, and their intervals against what intervals are for."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from patchword.tasks.labels import MULTI, REGRESSION, SINGLE
from patchword.tasks.metrics import decisions, gain, probabilities, scores

SEEDS = st.integers(0, 2**31)


@given(rows=st.integers(1, 60), classes=st.integers(2, 7), seed=SEEDS)
def test_one_class_a_row_is_scored_as_scikit_learn_does(rows: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, classes)).astype(np.float32) * 2
    targets = random.integers(classes, size=rows)
    got, predicted = scores(logits, targets, SINGLE), logits.argmax(1)
    assert got["accuracy"] == pytest.approx(reference.accuracy_score(targets, predicted))
    expected = reference.f1_score(targets, predicted, average="macro", zero_division=0)
    assert got["macro_f1"] == pytest.approx(expected)
    powers = np.exp(logits.astype(np.float64))
    expected = reference.log_loss(targets, powers / powers.sum(1, keepdims=True), labels=range(classes))
    assert got["loss"] == pytest.approx(expected, abs=1e-5)
    assert got["rows"] == rows


@given(rows=st.integers(2, 60), classes=st.integers(3, 6), seed=SEEDS)
def test_classes_in_an_order_are_scored_as_scikit_learn_does(rows: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    targets = random.integers(classes, size=rows)
    logits = (random.normal(size=(rows, classes)) + 2 * np.eye(classes)[targets]).astype(np.float32)
    targets[:2] = 0, classes - 1  # two classes at least, or kappa is not defined
    got, predicted = scores(logits, targets, SINGLE, ordinal=True), logits.argmax(1)
    assert got["mae"] == pytest.approx(reference.mean_absolute_error(targets, predicted))
    kappa = reference.cohen_kappa_score(targets, predicted, labels=range(classes), weights="quadratic")
    assert got["quadratic_kappa"] == pytest.approx(kappa)
    for name in ("mae", "quadratic_kappa"):
        assert got[f"{name}_low"] <= got[f"{name}_high"]
    assert scores(logits, targets, SINGLE) == {k: v for k, v in got.items() if not k.startswith(("mae", "quadratic"))}


def test_one_class_alone_agrees_by_chance() -> None:
    assert scores(np.eye(3)[[1, 1]], np.array([1, 1]), SINGLE, ordinal=True)["quadratic_kappa"] == 0.0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@given(rows=st.integers(1, 60), classes=st.integers(2, 6), seed=SEEDS)
def test_several_classes_a_row_are_scored_as_scikit_learn_does(rows: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, classes)).astype(np.float32) * 2
    targets = (random.random((rows, classes)) < 0.3).astype(np.float32)
    got, predicted = scores(logits, targets, MULTI), (logits > 0).astype(int)
    for average in ("micro", "macro"):
        expected = reference.f1_score(targets, predicted, average=average, zero_division=0)
        assert got[f"{average}_f1"] == pytest.approx(expected)
    assert got["exact_match"] == pytest.approx(reference.accuracy_score(targets, predicted))
    chances = (1 / (1 + np.exp(-logits))).astype(np.float64)
    losses = [reference.log_loss(targets[:, c], chances[:, c], labels=[0, 1]) for c in range(classes)]
    assert got["loss"] == pytest.approx(np.mean(losses), abs=1e-5)


@given(rows=st.integers(3, 60), seed=SEEDS)
def test_numbers_are_scored_as_scikit_learn_does(rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = random.normal(size=(rows, 1)).astype(np.float32) * 3 + 20
    guess = truth + random.normal(size=(rows, 1)).astype(np.float32)
    got = scores(guess, truth, REGRESSION)
    assert got["loss"] == pytest.approx(reference.mean_squared_error(truth, guess), rel=1e-4)
    assert got["rmse"] == pytest.approx(reference.root_mean_squared_error(truth, guess), rel=1e-4)
    assert got["mae"] == pytest.approx(reference.mean_absolute_error(truth, guess), rel=1e-4)
    assert got["r2"] == pytest.approx(reference.r2_score(truth, guess), rel=1e-3, abs=1e-3)
    assert got["pearson"] == pytest.approx(np.corrcoef(truth[:, 0], guess[:, 0])[0, 1], abs=1e-4)


@pytest.mark.parametrize("problem", [SINGLE, MULTI, REGRESSION])
def test_extreme_scores_have_finite_metrics(problem: str) -> None:
    logits = np.array([[1e4, -1e4], [-1e4, 1e4], [1e4, -1e4]], np.float32)[:, : 1 if problem == REGRESSION else 2]
    targets = {
        SINGLE: np.array([0, 1, 1]),
        MULTI: np.array([[1, 0], [0, 1], [0, 1]], np.float32),
        REGRESSION: np.zeros((3, 1), np.float32),
    }[problem]
    assert all(np.isfinite(value) for value in scores(logits, targets, problem).values())


def test_an_interval_holds_the_value_and_is_reproducible() -> None:
    random = np.random.default_rng(0)
    logits, targets = random.normal(size=(50, 3)), random.integers(3, size=50)
    got = scores(logits, targets, SINGLE)
    for name in ("accuracy", "macro_f1"):
        assert 0 <= got[f"{name}_low"] <= got[name] <= got[f"{name}_high"] <= 1
    assert scores(logits, targets, SINGLE) == got


def test_an_interval_of_accuracy_has_the_width_of_the_binomial() -> None:
    """1.96 sqrt(p (1 - p) / n) to each side, where n is large."""
    for rows, share in [(1000, 0.8), (4000, 0.5), (400, 0.9)]:
        right = np.arange(rows) < share * rows
        got = scores(np.stack([right, ~right], 1).astype(float), np.zeros(rows, np.int64), SINGLE)
        half = 1.96 * (share * (1 - share) / rows) ** 0.5
        assert got["accuracy_low"] == pytest.approx(share - half, abs=0.2 * half)
        assert got["accuracy_high"] == pytest.approx(share + half, abs=0.2 * half)


@pytest.mark.parametrize("problem", [SINGLE, MULTI, REGRESSION])
def test_an_interval_covers_the_truth_about_as_often_as_it_says(problem: str) -> None:
    """95 of 100 times; of 120 sets of 100 rows that is 114, with a deviation of 2.4 (bootstrap: a little fewer)."""
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(120):
        if problem == SINGLE:
            right = random.random(100) < 0.7
            got = scores(np.stack([right, ~right], 1).astype(float), np.zeros(100, np.int64), problem)
            covered += got["accuracy_low"] <= 0.7 <= got["accuracy_high"]
        elif problem == MULTI:
            wrong = random.random((100, 3)) < 0.1
            targets = np.ones((100, 3), np.float32)
            got = scores(np.where(wrong, -1.0, 1.0), targets, problem)
            truth = 0.9**3
            covered += got["exact_match_low"] <= truth <= got["exact_match_high"]
        else:
            guess = random.normal(size=(100, 1)) * 2
            got = scores(guess, np.zeros((100, 1)), problem)
            covered += got["rmse_low"] <= 2.0 <= got["rmse_high"]
    assert 103 <= covered <= 120


@pytest.mark.parametrize("problem", [SINGLE, MULTI, REGRESSION])
def test_the_memory_of_the_intervals_does_not_grow_with_the_set(problem: str) -> None:
    """Beside the predictions themselves, of which some copies are made."""

    def peak(rows: int) -> int:
        random = np.random.default_rng(0)
        logits = random.normal(size=(rows, 1 if problem == REGRESSION else 3))
        targets = random.integers(3, size=rows) if problem == SINGLE else (logits > 0.1).astype(np.float32)
        tracemalloc.start()
        try:
            scores(logits, targets, problem)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    rows = 8000
    assert peak(rows) <= peak(rows // 4) + 300 * rows


def test_probabilities_are_those_of_the_problem() -> None:
    logits = np.array([[1.0, 2.0, -1.0], [800.0, 0.0, -800.0]])
    assert probabilities(logits, SINGLE).sum(1) == pytest.approx([1, 1])
    assert probabilities(logits, SINGLE)[0] == pytest.approx(np.exp(logits[0]) / np.exp(logits[0]).sum())
    assert probabilities(logits, MULTI)[0] == pytest.approx(1 / (1 + np.exp(-logits[0])))
    assert np.isfinite(probabilities(logits, MULTI)).all()
    assert np.array_equal(probabilities(logits, REGRESSION), logits)


def test_a_gain_is_the_difference_of_the_scores_with_the_interval_of_paired_rows() -> None:
    """Of accuracies against the variance of the differences by row; the others by their own difference."""
    random = np.random.default_rng(0)
    targets = random.integers(3, size=600)
    ours, other = (np.where(random.random(600) < right, targets, 2 - targets) for right in (0.8, 0.7))
    found = gain(ours, other, targets, SINGLE)
    differences = (ours == targets).astype(float) - (other == targets)
    half = 1.96 * differences.std() / 600**0.5
    assert found["gain"] == pytest.approx(differences.mean())
    assert (found["gain_low"], found["gain_high"]) == pytest.approx(
        (found["gain"] - half, found["gain"] + half), abs=0.01
    )
    # Two that are right about the same rows differ by what they differ in, however few rows there are.
    assert set(gain(ours, ours, targets, SINGLE).values()) == {0.0}
    truth = (random.random((300, 4)) < 0.4).astype(np.float32)
    scored = [np.where(random.random((300, 4)) < right, truth, 1 - truth) - 0.5 for right in (0.9, 0.7)]
    found = gain(*(decisions(logits, MULTI) for logits in scored), truth, MULTI)
    assert found["gain"] == pytest.approx(
        reference.f1_score(truth, scored[0] > 0, average="micro")
        - reference.f1_score(truth, scored[1] > 0, average="micro")
    )
    numbers = random.normal(size=(300, 1))
    guesses = [numbers + scale * random.normal(size=(300, 1)) for scale in (0.5, 1.0)]
    found = gain(*(decisions(guess, REGRESSION) for guess in guesses), numbers, REGRESSION)
    errors = [float(((guess - numbers) ** 2).mean() ** 0.5) for guess in guesses]
    assert found["gain"] == pytest.approx(errors[1] - errors[0])
    assert 0 < found["gain_low"] < found["gain"] < found["gain_high"]
