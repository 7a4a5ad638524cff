"""Reviews of mistakes against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from patchword.tasks.labels import MULTI, SINGLE
from patchword.tasks.metrics import softmax
from patchword.tasks.review import MISTAKES, review, wilson

LABELS = ("a", "b", "c", "never")
ROWS = 300


@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    targets = random.integers(3, size=ROWS)
    logits = random.normal(size=(ROWS, 4)) + 2 * np.eye(4)[targets] - [0, 0, 0, 20]
    return logits.astype(np.float32), targets


def told(logits: np.ndarray, targets: np.ndarray, problem: str = SINGLE) -> dict:
    texts = [f"text {i} " + "long " * i for i in range(len(targets))]
    origins = [f"rows.csv, row {i + 1}" for i in range(len(targets))]
    return review(logits, targets, problem, LABELS, texts, origins, np.arange(len(targets)) + 5)


def test_classes_are_those_of_scikit_learn(rows: tuple[np.ndarray, np.ndarray]) -> None:
    logits, targets = rows
    found = told(logits, targets)
    expected = precision_recall_fscore_support(targets, logits.argmax(1), labels=range(4), zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "rows"), expected, strict=True):
        assert [of_class[name] for of_class in found["classes"]] == pytest.approx(values.tolist())
    assert found["confusion_matrix"] == confusion_matrix(targets, logits.argmax(1), labels=range(4)).tolist()


def test_several_labels_have_the_numbers_of_each(rows: tuple[np.ndarray, np.ndarray]) -> None:
    logits, _ = rows
    targets = (np.random.default_rng(1).random((ROWS, 4)) < 0.4).astype(np.float32)
    found = told(logits, targets, MULTI)
    expected = precision_recall_fscore_support(targets, logits > 0, zero_division=0)
    assert [of_class["f1"] for of_class in found["classes"]] == pytest.approx(expected[2].tolist())
    assert set(found) == {"classes"}


def test_confusions_are_the_largest_cells_beside_the_diagonal(rows: tuple[np.ndarray, np.ndarray]) -> None:
    logits, targets = rows
    found = told(logits, targets)["confusions"]
    counts = [cell["rows"] for cell in found]
    assert counts == sorted(counts, reverse=True)
    assert sum(counts) == (logits.argmax(1) != targets).sum()
    assert all(cell["is"] != cell["said"] for cell in found)
    of_first = sum(cell["share"] for cell in found if cell["is"] == "a")
    assert of_first == pytest.approx((logits.argmax(1) != targets)[targets == 0].mean())


def test_mistakes_are_the_surest_wrong_rows(rows: tuple[np.ndarray, np.ndarray]) -> None:
    logits, targets = rows
    found = told(logits, targets)["mistakes"]
    assert len(found) == MISTAKES
    chances = softmax(logits.astype(np.float64))
    wrong = [i for i in range(ROWS) if chances[i].argmax() != targets[i]]
    expected = sorted(wrong, key=lambda i: -chances[i].max())[:MISTAKES]
    assert [mistake["row"] for mistake in found] == expected
    for mistake in found:
        row = mistake["row"]
        assert mistake["origin"] == f"rows.csv, row {row + 1}"
        assert LABELS[targets[row]] == mistake["is"] != mistake["said"] == LABELS[chances[row].argmax()]
        assert len(mistake["text"]) <= 400
        assert mistake["text"].startswith(f"text {row} long")


def test_slices_are_of_twenty_rows_and_the_worst_comes_first(rows: tuple[np.ndarray, np.ndarray]) -> None:
    logits, targets = rows
    some = np.flatnonzero((targets != 2) | (np.arange(ROWS) < 20))  # of c only a few rows are left
    found = told(logits[some], targets[some])["slices"]
    assert {piece["slice"] for piece in found} >= {"label a", "label b"}
    assert "label c" not in {piece["slice"] for piece in found}
    accuracies = [piece["accuracy"] for piece in found]
    assert accuracies == sorted(accuracies)
    by_length = [piece for piece in found if piece["slice"].endswith("tokens")]
    assert len(by_length) == 4
    assert sum(piece["rows"] for piece in by_length) == len(some)
    right = sum(piece["rows"] * piece["accuracy"] for piece in by_length)
    assert right == pytest.approx((logits[some].argmax(1) == targets[some]).sum())


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_is_that_of_scipy(counts: tuple[int, int]) -> None:
    expected = binomtest(*counts).proportion_ci(method="wilson")
    assert wilson(*counts) == pytest.approx((expected.low, expected.high), abs=1e-6)
