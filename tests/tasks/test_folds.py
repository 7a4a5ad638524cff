"""Folds of a cross-validation: every row in one, classes alike in all, equal rows together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchword.data.tokenizers import Tokenizer
from patchword.tasks.labelled import ChosenRows, Division
from patchword.tasks.labels import MULTI, REGRESSION, SINGLE, LabelSet, cross_validation_folds
from patchword.tasks.text_classification import TextExamples


@given(rows=st.integers(10, 200), count=st.integers(2, 7), seed=st.integers(0, 999))
def test_each_class_is_in_all_folds_alike(rows: int, count: int, seed: int) -> None:
    targets = np.random.default_rng(seed).choice(4, rows, p=[0.6, 0.2, 0.15, 0.05])
    labels = LabelSet(("a", "b", "c", "d"), SINGLE)
    folds = cross_validation_folds(labels, targets, np.arange(rows), count, seed)
    for rows_of in (folds, *(folds[targets == c] for c in range(4))):
        sizes = np.bincount(rows_of, minlength=count)
        assert len(sizes) == count
        assert sizes.max() - sizes.min() <= 1
    assert (folds == cross_validation_folds(labels, targets, np.arange(rows), count, seed)).all()


@pytest.mark.parametrize("problem", [SINGLE, MULTI, REGRESSION])
def test_rows_of_a_group_are_in_one_fold(problem: str) -> None:
    random = np.random.default_rng(0)
    groups = random.integers(60, size=200)
    targets = {
        SINGLE: random.integers(3, size=200),
        MULTI: (random.random((200, 3)) < 0.3).astype(np.float32),
        REGRESSION: random.normal(size=(200, 1)),
    }[problem]
    folds = cross_validation_folds(LabelSet(("a", "b", "c"), problem), targets, groups, 5, 0)
    assert all(len(set(folds[groups == group])) == 1 for group in groups)
    assert np.bincount(folds).min() > 20


def test_chosen_rows_are_read_as_in_their_set(corpus: list[str], tokenizer: Tokenizer) -> None:
    whole = TextExamples(corpus[:12], tokenizer, 12, np.arange(12), windows="always")
    ids = np.array([1, 4, 5, 11])
    chosen, alone = ChosenRows(whole, ids), TextExamples([corpus[i] for i in ids], tokenizer, 12, ids, windows="always")
    (parts, owners), (expected, expected_owners) = chosen.parts(), alone.parts()
    assert owners.tolist() == expected_owners.tolist()
    everything = np.arange(len(parts))
    for ours, theirs in ((parts, expected), (chosen, alone)):
        some = everything if ours is parts else np.arange(4)
        assert ours.lengths(some).tolist() == theirs.lengths(some).tolist()
    batch, other = parts.batch(everything, (0, 0)), expected.batch(everything, (0, 0))
    assert batch.inputs[0].values.tolist() == other.inputs[0].values.tolist()
    assert batch.targets.tolist() == other.targets.tolist()
    assert chosen.raw() == list(alone.raw())


def test_a_baseline_scores_each_row_without_it_and_others_with_all() -> None:
    def fit(train: np.ndarray, targets: np.ndarray, asked: np.ndarray) -> dict[str, np.ndarray]:
        assert not set(train) & set(asked)
        return {"seen": np.full((len(asked), 1), len(train)) + 1000 * asked[:, None]}

    class Rows:
        def __init__(self, count: int) -> None:
            self.targets = np.zeros(count, int)

        def __len__(self) -> int:
            return len(self.targets)

    other = np.arange(100, 103)
    folded = Division.of(Rows(10), Rows(10), np.arange(10) % 3, False)  # type: ignore[arg-type]
    found = folded.scored(fit, np.arange(10), other)
    assert found["validation"]["seen"][:, 0].tolist() == [1000 * i + (6 if i % 3 == 0 else 7) for i in range(10)]
    assert found["test"]["seen"][:, 0].tolist() == [1000 * i + 10 for i in other]
    for held_back in (True, False):
        split = Division.of(Rows(8), Rows(2), None, held_back)  # type: ignore[arg-type]
        found = split.scored(fit, np.arange(10), other)
        assert found["validation"]["seen"][:, 0].tolist() == [8008, 9008]
        assert found["test"]["seen"][0, 0] == 100_000 + (10 if held_back else 8)
