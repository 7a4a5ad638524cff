"""Labels that are probably wrong: flipped ones are found at the precision that is told, none where all are right."""

from __future__ import annotations

import numpy as np
import pytest

from patchword.tasks.metrics import softmax
from patchword.tasks.suspects import PRECISION, SUSPECTS, held_out_chances, suspected, suspects


def drawn(rows: int, classes: int, sharpness: float, flipped: float, seed: int) -> tuple[np.ndarray, ...]:
    """Probabilities, labels drawn from them, and which of these were then replaced by any other class."""
    random = np.random.default_rng(seed)
    logits = sharpness * random.normal(size=(rows, classes))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(1)
    wrong = random.random(rows) < flipped
    labels = np.where(wrong, (labels + random.integers(1, classes, rows)) % classes, labels)
    return softmax(logits), labels, wrong


@pytest.mark.parametrize("sharpness", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("classes", [2, 17])
def test_where_all_labels_are_right_hardly_ever_is_one_listed(classes: int, sharpness: float) -> None:
    listed = [len(suspected(*drawn(500, classes, sharpness, 0.0, seed)[:2])[0]) for seed in range(40)]
    assert np.count_nonzero(listed) <= 3


@pytest.mark.parametrize("flipped", [0.03, 0.1])
def test_the_list_is_as_precise_as_is_told(flipped: float) -> None:
    """Over many sets; a model that is right in about 90 % of the rows."""
    found, right, told = 0, 0, 0.0
    for seed in range(30):
        chances, labels, wrong = drawn(500, 10, 6.0, flipped, seed)
        rows, precision = suspected(chances, labels)
        assert precision >= PRECISION or not len(rows)
        own = chances[rows, labels[rows]]
        assert (np.diff(own) >= 0).all()
        found, right, told = found + len(rows), right + wrong[rows].sum(), told + precision * len(rows)
    assert found > 30 * 500 * flipped / 2
    assert right / found == pytest.approx(told / found, abs=0.12)


def test_what_is_shown_of_a_row() -> None:
    chances, labels, _ = drawn(400, 4, 6.0, 0.1, 0)
    labels[:2] = [4, 4]  # a class of two rows: a model has hardly seen it
    chances = np.concatenate([chances, np.full((400, 1), 1e-9)], 1)
    shown = [(f"text {i}", f"rows.csv, row {i + 2}") for i in range(400)]
    told = suspects(chances, labels, shown, ["a", "b", "c", "d", "e"], "a probe")
    assert told["looked_at"] == 398
    assert 0 < len(told["rows"]) <= SUSPECTS <= told["count"]
    for row in told["rows"]:
        number = int(row["text"].split()[1])
        assert number > 1
        assert row["origin"] == f"rows.csv, row {number + 2}"
        assert row["is"] == "abcde"[labels[number]] != row["prediction"] == "abcde"[chances[number].argmax()]
        assert row["confidence"] == chances[number, labels[number]]


def test_a_probe_finds_flipped_labels_of_clusters_and_nothing_in_clean_ones() -> None:
    random = np.random.default_rng(0)
    clean = np.arange(300) % 3
    vectors = random.normal(size=(300, 8)) + 3 * np.eye(3, 8)[clean]
    folds = random.permutation(300) % 5
    assert len(suspected(held_out_chances(vectors, clean, 3, folds), clean)[0]) == 0
    wrong = np.zeros(300, bool)
    wrong[random.choice(300, 15, replace=False)] = True
    labels = np.where(wrong, (clean + 1) % 3, clean)
    rows, precision = suspected(held_out_chances(vectors, labels, 3, folds), labels)
    assert wrong[rows].mean() >= precision - 0.2
    assert wrong[rows].sum() >= 10
