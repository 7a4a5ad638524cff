"""Temperatures, calibration errors and coverage against closed forms and a grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchword.tasks.calibration import SHARES, believed, calibration_error, coverage, fit_temperature, reliability
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
