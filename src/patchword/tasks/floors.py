"""What simple methods reach on the same rows: a score means little without it."""

from __future__ import annotations

import re
import warnings
from functools import partial
from typing import Any

import numpy as np

from patchword.models.family import Modality
from patchword.tasks.labels import MULTI, REGRESSION
from patchword.tasks.probe import logistic

_MOST_ROWS = 20_000  # the floor of a large set is fitted on so many of its rows


def floor_predictions(
    modality: Modality, problem: str, inputs: Any, targets: np.ndarray, asked: Any, classes: int
) -> dict[str, np.ndarray]:
    """Scores of rows, `[rows, classes]`, by two simple methods that train on labelled ones.

    "majority": always the most common class. "tf-idf" for text: TF-IDF of words and word pairs, then logistic
    regression; of a pair, those of either text, and which share of its words the other one has. "pixels" for
    images: logistic regression on the pixels. A regression has "mean", and ridge for the others.

    Args:
        modality: what the inputs are.
        problem: of the labels.
        inputs, targets: to train on.
        asked: inputs of the rows to be scored.
        classes: how many.
    """
    from threadpoolctl import threadpool_limits

    if len(targets) > _MOST_ROWS:
        chosen = np.random.default_rng(0).permutation(len(targets))[:_MOST_ROWS]
        inputs = [inputs[i] for i in chosen] if modality == "text" else inputs[chosen]
        targets = targets[chosen]
    # These fits are so small that two threads wait for each other longer than one computes.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence: a floor is a floor
        return {
            "mean" if problem == REGRESSION else "majority": _majority(targets, len(asked), classes, problem),
            "tf-idf" if modality == "text" else "pixels": linear(modality, problem, inputs, targets, asked, classes),
        }


def _majority(targets: np.ndarray, rows: int, classes: int, problem: str) -> np.ndarray:
    if problem == REGRESSION:
        return np.full((rows, 1), targets.mean())
    share = targets.mean(0) if problem == MULTI else np.bincount(targets, minlength=classes) / len(targets)
    share = np.clip(share, 1e-6, 1 - 1e-6)
    logits = np.log(share / (1 - share)) if problem == MULTI else np.log(share)
    return np.broadcast_to(logits, (rows, classes))


def linear(modality: Modality, problem: str, inputs: Any, targets: np.ndarray, test: Any, classes: int) -> np.ndarray:
    """Scores of test rows, `[rows, classes]`, by the linear model of words or pixels of `floor_predictions`."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    strength = 10.0 if modality == "text" else 0.01
    words = partial(TfidfVectorizer, sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b")
    reader: Any = words() if modality == "text" else StandardScaler()
    if modality == "text" and isinstance(inputs[0], tuple):
        sides = [make_pipeline(FunctionTransformer(partial(_side, i)), words()) for i in range(2)]
        reader = make_union(*sides, FunctionTransformer(_shared_words))
        texts = [_side(i, inputs) for i in range(2)]
    else:
        texts = [inputs]
    if modality == "text" and not all(any(re.search(r"\w", text) for text in side) for side in texts):
        return _majority(targets, len(test), classes, problem)  # no words to count
    if problem == REGRESSION:
        fitted = make_pipeline(reader, Ridge(1.0 if modality == "text" else 1000.0)).fit(inputs, targets[:, 0])
        return np.asarray(fitted.predict(test))[:, None]
    features = reader.fit_transform(inputs)
    return logistic(features, targets, reader.transform(test), problem, classes, strength)


def _side(i: int, pairs: list[tuple[str, str]]) -> list[str]:
    return [pair[i] for pair in pairs]


def _shared_words(pairs: list[tuple[str, str]]) -> np.ndarray:
    """`[n, 2]`: the share of each text's words that stand in the other one."""
    shares = np.zeros((len(pairs), 2))
    for row, pair in enumerate(pairs):
        words = [set(re.findall(r"\w+", text.lower())) for text in pair]
        shares[row] = [len(words[0] & words[1]) / max(len(side), 1) for side in words]
    return shares
