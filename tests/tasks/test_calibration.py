"""Temperatures, calibration errors and coverage against closed forms and a grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchword.tasks.calibration import (
    SHARES,
    believed,
    calibration_error,
    confidence_report,
    coverage,
    cross_fitted,
    fit_temperature,
    reliability,
)
from patchword.tasks.labels import MULTI, SINGLE
from patchword.tasks.metrics import scores


def drawn(logits: np.ndarray, seed: int = 0) -> np.ndarray:
    """Classes drawn from the very probabilities that the logits stand for."""
    random = np.random.default_rng(seed)
    return (logits + random.gumbel(size=logits.shape)).argmax(1)


@pytest.mark.parametrize("factor", [0.03, 0.6, 1.0, 3.0, 8.0])
def test_the_temperature_of_overstated_logits_is_what_they_were_multiplied_by(factor: float) -> None:
    logits = np.random.default_rng(1).normal(size=(20_000, 4)) * 2
    found = fit_temperature(factor * logits, drawn(logits), SINGLE)
    assert found == pytest.approx(factor, rel=0.05)  # 20,000 draws leave about 2 % to chance


def test_the_temperature_is_that_of_the_lowest_loss_on_a_grid() -> None:
    random = np.random.default_rng(2)
    logits = random.normal(size=(5000, 3)) * 3
    targets = np.where(random.random(5000) < 0.5, drawn(logits), random.integers(3, size=5000))
    losses = {t: scores(logits / t, targets, SINGLE)["loss"] for t in np.geomspace(0.5, 20, 400)}
    assert fit_temperature(logits, targets, SINGLE) == pytest.approx(min(losses, key=losses.__getitem__), rel=0.02)


def test_several_labels_have_one_temperature() -> None:
    random = np.random.default_rng(3)
    logits = random.normal(size=(20_000, 3)) * 2
    targets = (random.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    assert fit_temperature(2.5 * logits, targets, MULTI) == pytest.approx(2.5, rel=0.05)


def test_rows_that_are_all_right_do_not_make_it_certain() -> None:
    logits = np.eye(3)[np.arange(30) % 3]
    # 31 of 32: e^(1/T) / (e^(1/T) + 2).
    assert fit_temperature(logits, np.arange(30) % 3, SINGLE) == pytest.approx(1 / np.log(62), rel=0.01)
    # Each decision for itself: of 30 rows with 3 labels, and scores of 1 and -1.
    assert fit_temperature(2 * logits - 1, logits, MULTI) == pytest.approx(1 / np.log(31), rel=0.01)


def test_the_error_is_the_gap_in_each_bin_by_its_rows() -> None:
    # 4 decisions at 0.95 of which 3 are right, 6 at 0.55 of which 3 are right.
    confidence = np.array([0.95] * 4 + [0.55] * 6)
    right = np.array([1, 1, 1, 0, 1, 1, 1, 0, 0, 0], bool)
    assert calibration_error(confidence, right) == pytest.approx(0.4 * (0.95 - 0.75) + 0.6 * (0.55 - 0.5))
    assert calibration_error(np.ones(5), np.ones(5, bool)) == 0.0


def test_what_is_sure_and_right_of_one_and_of_several_labels() -> None:
    sure, right = believed(np.log(np.array([[0.7, 0.3], [0.2, 0.8]])), np.array([0, 0]), SINGLE)
    assert sure == pytest.approx([0.7, 0.8])
    assert right.tolist() == [True, False]
    sure, right = believed(np.array([[0.0, np.log(3)]]), np.array([[0.0, 0.0]]), MULTI)
    assert sure == pytest.approx([0.5, 0.75])
    assert right.tolist() == [True, False]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_coverage_counts_the_surest_rows(rows: list[tuple[float, bool]]) -> None:
    confidence, right = (np.array(values) for values in zip(*rows, strict=True))
    curve = coverage(confidence, right)
    assert [point["share"] for point in curve] == list(SHARES)
    assert curve[0]["accuracy"] == pytest.approx(right.mean())
    assert curve[0]["confidence"] == confidence.min()
    for point in curve:
        surer = confidence > point["confidence"]
        rows_taken = max(1, round(point["share"] * len(right)))
        assert surer.sum() <= rows_taken
        assert right[surer].sum() <= round(point["accuracy"] * rows_taken)


def test_the_bins_add_up_to_the_error() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.4, 1.0, 500)
    right = random.random(500) < confidence**2
    bins = reliability(confidence, right)
    assert sum(b["rows"] for b in bins) == 500
    assert sum(b["rows"] * b["accuracy"] for b in bins) == pytest.approx(right.sum())
    gaps = sum(b["rows"] * abs(b["confidence"] - b["accuracy"]) for b in bins) / 500
    assert gaps == pytest.approx(calibration_error(confidence, right))
    assert [b["confidence"] for b in bins] == sorted(b["confidence"] for b in bins)


def calibration_drawn(rows: int, factor: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of 10 classes that are `factor` times too large, and classes drawn from the right ones."""
    logits = 2 * np.random.default_rng(seed).normal(size=(rows, 10))
    return factor * logits, drawn(logits, seed + 1000)


@pytest.mark.parametrize("factor", [1.0, 1.6, 0.6])
def test_the_interval_of_the_error_holds_the_true_one(factor: float) -> None:
    """The true one: of so many rows that chance does not matter."""
    truth = calibration_error(*believed(*calibration_drawn(200_000, factor, 99), SINGLE))
    reports = [confidence_report(*calibration_drawn(250, factor, seed), SINGLE) for seed in range(30)]
    inside = [r["calibration_error_low"] <= truth <= r["calibration_error_high"] for r in reports]
    assert sum(inside) >= 25
    beyond = [r["calibration_error"] > r["calibration_error_limit"] for r in reports]
    assert sum(beyond) <= 5 if factor == 1.0 else sum(beyond) >= 25
    sign = [r["overconfidence_low"] > 0 for r in reports], [r["overconfidence_high"] < 0 for r in reports]
    assert [sum(side) > 20 for side in sign] == [factor > 1, factor < 1]


def test_the_error_by_chance_is_what_is_seen_where_every_confidence_holds() -> None:
    reports = [confidence_report(*calibration_drawn(200, 1.0, seed), SINGLE) for seed in range(30)]
    seen = np.mean([report["calibration_error"] for report in reports])
    assert seen == pytest.approx(np.mean([report["calibration_error_by_chance"] for report in reports]), rel=0.1)


def test_a_row_has_no_part_in_its_own_temperature() -> None:
    logits, targets = calibration_drawn(60, 2.0, 0)
    folds = np.arange(60) % 3
    scaled = cross_fitted(logits, targets, SINGLE, folds)
    for fold in range(3):
        temperature = fit_temperature(logits[folds != fold], targets[folds != fold], SINGLE)
        np.testing.assert_allclose(scaled[folds == fold], logits[folds == fold] / temperature)


def test_several_labels_are_resampled_by_row() -> None:
    random = np.random.default_rng(0)
    logits = np.repeat(random.normal(size=(50, 1)), 8, axis=1)
    targets = np.repeat((random.random((50, 1)) < 0.5).astype(np.float32), 8, axis=1)
    one = confidence_report(logits[:, :1], targets[:, :1], MULTI)
    several = confidence_report(logits, targets, MULTI)
    # Labels that are always the same say no more than one of them.
    assert several["overconfidence_low"] == pytest.approx(one["overconfidence_low"])
    assert several["overconfidence_high"] == pytest.approx(one["overconfidence_high"])
