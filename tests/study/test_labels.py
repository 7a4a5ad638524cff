"""Label efficiency: intervals as scipy has them, and a fair comparison of methods."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from patchword.study.labels import (
    LabelCurve,
    difference,
    interval,
    interval_over_rows,
    label_efficiency,
    plot_labels,
)


def curve(name: str, right: np.ndarray) -> LabelCurve:
    """`[K, S, R]`."""
    return LabelCurve(name, tuple(range(1, len(right) + 1)), right)


def test_interval_is_student_s():
    values = np.array([0.31, 0.36, 0.29, 0.40, 0.33])
    expected = stats.t.interval(0.95, 4, values.mean(), stats.sem(values))
    found = interval(values)
    np.testing.assert_allclose((found.mean, found.low, found.high), (values.mean(), *expected), rtol=1e-12)
    with pytest.raises(ValueError, match="at least 2"):
        interval(values[:1])


def test_interval_covers_the_truth_in_about_95_of_100():
    random = np.random.default_rng(0)
    hits = [abs((found := interval(random.normal(0.0, 1.0, 5))).mean) <= found.high - found.mean for _ in range(2000)]
    assert 0.93 < np.mean(hits) < 0.97


def test_interval_over_rows_is_that_of_a_share():
    right = np.arange(400) < 120
    found = interval_over_rows(right)
    half = stats.norm.ppf(0.975) * np.sqrt(0.3 * 0.7 / 399)
    np.testing.assert_allclose((found.mean, found.low, found.high), (0.3, 0.3 - half, 0.3 + half), rtol=1e-4)
    # Paired: two that are right in the same rows but ten differ by those ten only.
    other = np.arange(400) < 130
    change = interval_over_rows(other.astype(int) - right)
    assert change.above_zero
    assert change.mean == pytest.approx(10 / 400)


def test_difference_is_paired():
    random = np.random.default_rng(1)
    hard = random.random((1, 5, 400)) < random.random((1, 1, 400))  # seeds agree on which rows are hard
    better = hard.copy()
    better[:, :, :60] = True
    found = difference(curve("a", better), curve("b", hard), 0)
    assert found.above_zero
    assert not found.below_zero
    assert found.mean == pytest.approx(better.mean() - hard.mean())
    same = difference(curve("a", hard), curve("b", hard), 0)
    assert (same.low, same.mean, same.high) == (0.0, 0.0, 0.0)
    assert not same.above_zero


def test_difference_between_equals_is_rarely_clear():
    random = np.random.default_rng(2)
    clear = 0
    for _ in range(400):
        a, b = random.random((2, 1, 5, 200)) < 0.6
        found = difference(curve("a", a), curve("b", b), 0)
        clear += found.above_zero or found.below_zero
    assert clear <= 0.05 * 400


def test_difference_knows_that_the_test_rows_are_a_sample():
    # In every seed the same 3 of 50 rows make the difference: no spread over seeds at all, but few rows.
    b = np.zeros((1, 5, 50), bool)
    a = b.copy()
    a[:, :, :3] = True
    found = difference(curve("a", a), curve("b", b), 0)
    assert found.low < 0.0 < found.high


def test_label_efficiency_tells_signal_from_noise():
    random = np.random.default_rng(0)
    targets, truth = np.repeat([0, 1, 2], 30), np.repeat([0, 1, 2], 50)
    words = ["alpha beta", "gamma delta", "epsilon zeta"]

    def features(of: np.ndarray, strength: float) -> np.ndarray:
        return np.eye(3)[of] * strength + random.normal(size=(len(of), 3))

    ticks = []
    curves = label_efficiency(
        {
            "signal": (features(targets, 5.0), features(truth, 5.0)),
            "noise": (features(targets, 0.0), features(truth, 0.0)),
            "words": ([words[t] for t in targets], [words[t] for t in truth]),
        },
        targets,
        truth,
        (6, 30),
        range(4),
        lambda: ticks.append(1),
    )
    assert len(ticks) == 3 * 4
    assert curves["signal"].right.shape == (2, 4, 150)
    assert curves["signal"].accuracy[1].min() > 0.9
    assert curves["words"].accuracy.min() == 1.0
    assert abs(curves["noise"].interval(1).mean - 1 / 3) < 0.1
    assert difference(curves["signal"], curves["noise"], 1).above_zero


def test_all_methods_learn_from_the_same_rows():
    random = np.random.default_rng(0)
    features, texts = random.normal(size=(50, 4)), random.normal(size=(20, 4))
    targets, truth = np.arange(50) % 2, np.arange(20) % 2
    curves = label_efficiency({"a": (features, texts), "b": (features, texts)}, targets, truth, (5, 20), range(3))
    np.testing.assert_array_equal(curves["a"].right, curves["b"].right)


def test_plot_shows_means_and_intervals():
    right = np.random.default_rng(0).random((3, 5, 200)) < np.array([0.3, 0.5, 0.7])[:, None, None]
    one = LabelCurve("one", (5, 10, 20), right)
    figure = plot_labels([one, LabelCurve("two", (5, 10, 20), ~right)], chance=0.2)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(lines["one"].get_ydata(), one.accuracy.mean(1))
    assert lines["one"].get_xdata().tolist() == [5, 10, 20]
    assert lines["guessing"].get_ydata()[0] == 0.2
    band = axes.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(min(one.interval(k).low for k in range(3)))
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"one", "two", "guessing"}
