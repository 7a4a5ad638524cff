"""Fair draws; probes as scikit-learn's pipeline has them, votes as its neighbours have them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from patchword.tasks.labels import MULTI, SINGLE
from patchword.tasks.probe import NEIGHBOURS, STRENGTH, draws, logistic, nearest_vote, probe, tf_idf

COUNTS = (4, 10, 23)


@pytest.mark.parametrize("seed", range(5))
def test_draws_are_balanced_nested_and_without_repetition(seed):
    targets = np.random.default_rng(0).integers(0, 4, 60)
    found = draws(targets, COUNTS, seed)
    assert [len(rows) for rows in found] == list(COUNTS)
    for rows in found:
        assert len(set(rows.tolist())) == len(rows)
        often = np.bincount(targets[rows], minlength=4)
        assert often.max() - often.min() <= 1
    for smaller, larger in itertools.pairwise(found):
        assert set(smaller.tolist()) <= set(larger.tolist())


def test_draws_depend_on_the_seed_only():
    targets = np.repeat([0, 1, 2], 40)
    first = [draws(targets, COUNTS, 3)[2].tolist() for _ in range(2)]
    assert first[0] == first[1] != draws(targets, COUNTS, 4)[2].tolist()


def test_draws_go_on_when_a_small_class_is_used_up():
    targets = np.array([0] * 2 + [1] * 30)
    (rows,) = draws(targets, [12], 0)
    assert np.bincount(targets[rows]).tolist() == [2, 10]


def test_more_labels_than_rows_are_refused():
    with pytest.raises(ValueError, match="9 labels can not be drawn from 8 rows"):
        draws(np.zeros(8, int), [9], 0)


def test_probe_is_standardised_logistic_regression():
    random = np.random.default_rng(0)
    train, test = random.normal(size=(60, 12)) * 7 + 3, random.normal(size=(300, 12)) * 7 + 3
    targets = (train[:, 0] > 3).astype(int) + (train[:, 1] > 5)
    # Features divided by the root of the width: C is divided by the width.
    reference = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH / 12, max_iter=1000))
    expected = reference.fit(train, targets).predict(test)
    assert (probe(train, targets, test) == expected).mean() > 0.99


def test_probe_does_not_depend_on_the_scale_of_features_and_bears_constant_ones():
    random = np.random.default_rng(0)
    train, test = random.normal(size=(40, 6)), random.normal(size=(100, 6))
    targets = (train[:, 0] > 0).astype(int)
    train[:, 5] = test[:, 5] = 0.25
    first = probe(train, targets, test)
    np.testing.assert_array_equal(first, probe(train * 1000 + 5, targets, test * 1000 + 5))
    test[:, 5] = 1e6  # never seen to vary, so it says nothing
    np.testing.assert_array_equal(first, probe(train, targets, test))


def test_tf_idf_is_scikit_learn_s():
    train = ["red apple", "green apple", "red car", "fast car", "green pear", "slow car"]
    targets = np.array([0, 0, 1, 1, 0, 1])
    test = ["a slow apple", "a fast pear", "car", "red"]
    reader = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
    reference = make_pipeline(reader, LogisticRegression(C=STRENGTH)).fit(train, targets)
    np.testing.assert_array_equal(tf_idf(train, targets, test), reference.predict(test))


def rows(count: int, seed: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Features `[count, 6]` of three classes."""
    random = np.random.default_rng(seed)
    targets = random.integers(3, size=count)
    return np.eye(6)[targets] + noise * random.normal(size=(count, 6)), targets


def test_a_vote_is_that_of_scikit_learn_s_neighbours():
    (train, targets), (test, _) = rows(80, 0), rows(1500, 1)
    for k in (1, 3, 10):
        theirs = KNeighborsClassifier(k, metric="cosine", algorithm="brute").fit(train, targets)
        ours = nearest_vote(train, targets, test, SINGLE, 3, k)
        np.testing.assert_array_equal(ours.argmax(1), theirs.predict(test))
        share = (theirs.predict_proba(test) * k + 1 / 3) / (k + 1)
        np.testing.assert_allclose(np.exp(ours), share, rtol=1e-9)


@pytest.mark.parametrize("noise", [0.05, 0.6, 2.0])
def test_how_many_vote_is_chosen_by_leaving_one_out(noise):
    (train, targets), (test, _) = rows(60, 2, noise), rows(50, 3, noise)

    def right(k: int) -> float:
        model = KNeighborsClassifier(k, metric="cosine", algorithm="brute")
        return float(cross_val_score(model, train, targets, cv=LeaveOneOut()).mean())

    best = max(NEIGHBOURS, key=right)
    ours, theirs = (nearest_vote(train, targets, test, SINGLE, 3, k) for k in (None, best))
    np.testing.assert_array_equal(ours, theirs)


def test_neighbours_vote_on_each_of_several_labels():
    train = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0], [0.05, 1.0]])
    targets = np.array([[1, 0], [1, 1], [0, 1], [0, 1], [0, 1]], np.float32)
    found = nearest_vote(train, targets, np.array([[2.0, 0.1], [0.0, 3.0]]), MULTI, 2, 3)
    # Of the first's neighbours 2 have the first label and 2 the second; of the other's, none and all.
    np.testing.assert_allclose(1 / (1 + np.exp(-found)), [[2.5 / 4, 2.5 / 4], [0.5 / 4, 3.5 / 4]], rtol=1e-9)
    with_k = nearest_vote(train, targets, train, MULTI, 2)
    assert with_k.shape == (5, 2)


def test_one_labelled_row_is_enough_to_vote():
    assert nearest_vote(np.ones((1, 4)), np.array([1]), np.ones((3, 4)), SINGLE, 2).argmax(1).tolist() == [1, 1, 1]


def test_a_class_that_no_row_has_is_never_predicted():
    train, targets = rows(40, 4)
    scores = logistic(train, targets, train, SINGLE, 5)
    assert scores.shape == (40, 5)
    assert (scores[:, 3:] == -20).all()
    np.testing.assert_allclose(np.exp(scores[:, :3]).sum(1), 1.0, rtol=1e-6)
    assert logistic(train, np.full(40, 3), train, SINGLE, 5).argmax(1).tolist() == [3] * 40
