"""Classifiers on vectors that do not change: what labels are worth before any weight of a model has learnt from them.

Shapes: n labelled rows, R rows to test on, C classes, width numbers a row. Targets are as `LabelSet.encode` gives them:
`[n]`, or `[n, C]` where a row has several labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from patchword.tasks.labels import MULTI, SINGLE

STRENGTH = 10.0
"""C of every logistic regression here: one number for all methods and all label counts, chosen by nobody's score."""
NEIGHBOURS = (1, 3, 5, 10, 20)
"""How many of the nearest rows may vote."""
_AT_ONCE = 1000  # rows whose similarities to all labelled ones are in memory at a time


def draws(targets: np.ndarray, counts: Sequence[int], seed: int) -> list[np.ndarray]:
    """Row numbers for each label count, `[count]` each: every class as often (one more or less), smaller in larger.

    Args:
        targets: classes `[P]`.
        counts: labels to draw.
        seed: of the order.

    Raises:
        ValueError: more labels than rows.
    """
    if max(counts) > len(targets):
        raise ValueError(f"{max(counts)} labels can not be drawn from {len(targets)} rows")
    random = np.random.default_rng(seed)
    classes = [random.permutation(np.flatnonzero(targets == c)) for c in random.permutation(np.unique(targets))]
    # Turn by turn, one row of each class.
    order = [rows[turn] for turn in range(max(map(len, classes))) for rows in classes if turn < len(rows)]
    return [np.sort(order[:count]) for count in counts]


def probe(train: np.ndarray, targets: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Classes of test rows, `[R]`, by logistic regression on features `[n, width]` as `standardise` gives them."""
    train, test = standardise(train, test)
    return _logistic(train, targets, test)


def standardise(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features of both, standardised by the labelled rows alone and divided by the root of the width.

    A row is then about as long as a TF-IDF row (1), and the same C (`STRENGTH`) means the same in both. A feature that
    has only one value in the labelled rows is 0.
    """
    mean, std = train.mean(0), train.std(0)
    scale = 1.0 / (np.where(std > 1e-6, std, np.inf) * np.sqrt(train.shape[1]))
    return (train - mean) * scale, (test - mean) * scale


def tf_idf(train: Sequence[str], targets: np.ndarray, test: Sequence[str]) -> np.ndarray:
    """Classes of test rows, `[R]`, by logistic regression on TF-IDF of words and word pairs of the labelled rows.

    The same reader as that of the floor that stands beside every fine-tuned score (`tasks/floors.py`).
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    reader = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
    return _logistic(reader.fit_transform(train), targets, reader.transform(test))


def _logistic(train: Any, targets: np.ndarray, test: Any) -> np.ndarray:
    return logistic(train, targets, test, SINGLE, int(targets.max()) + 1).argmax(1)


def logistic(
    train: Any, targets: np.ndarray, test: Any, problem: str, classes: int, strength: float = STRENGTH
) -> np.ndarray:
    """Scores of the classes of test rows, `[R, C]`, by logistic regression: log-probabilities, or logits of each label.

    Args:
        train, test: features `[n, width]` and `[R, width]`, dense or sparse.
        targets: of the labelled rows; a class that none of them has is as good as impossible.
        problem: single or multi label.
        classes: C.
        strength: C of scikit-learn, the weight of the rows against that of small coefficients.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    model = LogisticRegression(C=strength, max_iter=300)
    rows = test.shape[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence
        if problem == MULTI:
            known = [c for c in range(classes) if 0 < targets[:, c].sum() < len(targets)]
            logits = np.where(targets.mean(0) > 0.5, 10.0, -10.0) * np.ones((rows, 1))
            if known:
                fitted = OneVsRestClassifier(model).fit(train, targets[:, known])
                logits[:, known] = np.asarray(fitted.decision_function(test)).reshape(rows, -1)
            return logits
        logits = np.full((rows, classes), -20.0)
        if len(seen := np.unique(targets)) < 2:
            logits[:, seen] = 0.0
        else:
            fitted = model.fit(train, targets)
            logits[:, fitted.classes_] = np.asarray(fitted.predict_log_proba(test))
        return logits


def nearest_vote(
    train: np.ndarray, targets: np.ndarray, test: np.ndarray, problem: str, classes: int, k: int | None = None
) -> np.ndarray:
    """Scores of the classes of test rows, `[R, C]`, by the vote of the k labelled rows most like each, by cosine.

    The scores are those of the votes' shares, with one more voter who is undecided: log-probabilities, or logits of
    each label. Where classes have as many votes, the first of them wins.

    Args:
        train, test: features `[n, width]` and `[R, width]`.
        targets: of the labelled rows.
        problem: single or multi label.
        classes: C.
        k: how many vote; that of `NEIGHBOURS` by which most labelled rows are right when the others vote (leave one
            out), the smallest of several such, where not given.
    """
    votes = targets.astype(np.float64) if problem == MULTI else np.eye(classes)[targets]
    train, test = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (train, test))
    if k is None:
        ranked = _most_similar(train, train, NEIGHBOURS[-1], itself=False)
        right = {}
        for count in [count for count in NEIGHBOURS if count < len(train)]:
            scores = _vote(votes[ranked[:, :count]], problem)
            hits = (scores > 0) == (votes > 0.5) if problem == MULTI else scores.argmax(1) == targets
            right[count] = float(hits.mean())
        k = max(right, key=right.__getitem__, default=1)
    return _vote(votes[_most_similar(train, test, k)], problem)


def _most_similar(train: np.ndarray, rows: np.ndarray, count: int, itself: bool = True) -> np.ndarray:
    """Numbers of the labelled rows that are most like each of `rows`, best first, `[len(rows), count at most]`."""
    found = []
    for start in range(0, len(rows), _AT_ONCE):
        similarity = rows[start : start + _AT_ONCE] @ train.T
        if not itself:
            here = np.arange(len(similarity))
            similarity[here, start + here] = -np.inf
        found.append(np.argsort(-similarity, axis=1, kind="stable")[:, : min(count, len(train) - (not itself))])
    return np.concatenate(found)


def _vote(votes: np.ndarray, problem: str) -> np.ndarray:
    """`[rows, k, C]` -> `[rows, C]`."""
    undecided = 0.5 if problem == MULTI else 1.0 / votes.shape[2]
    share = (votes.sum(1) + undecided) / (votes.shape[1] + 1)
    return np.asarray(np.log(share / (1.0 - share)) if problem == MULTI else np.log(share))
