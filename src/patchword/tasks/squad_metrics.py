"""Exact match and F1 as SQuAD's own scripts count them (Rajpurkar et al. 2016, 2018)."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

import numpy as np

RESAMPLES = 1000
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> str:
    """In lower case, without punctuation, articles and superfluous spaces."""
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(answer: str, gold: str) -> float:
    """1 where both are equal when normalised, else 0."""
    return float(normalise(answer) == normalise(gold))


def f1(answer: str, gold: str) -> float:
    """Of the words that both share; where one has none, 1 if the other has none either, else 0."""
    ours, theirs = normalise(answer).split(), normalise(gold).split()
    if not ours or not theirs:
        return float(ours == theirs)
    shared = (Counter(ours) & Counter(theirs)).total()
    return 2 * shared / (len(ours) + len(theirs))


def row_scores(answers: Sequence[str], golds: Sequence[Sequence[str]]) -> np.ndarray:
    """Exact match and F1 of each answer against the best of its golds, `[n, 2]`.

    Args:
        answers: "" says that there is none.
        golds: of each question; none where it is unanswerable. A gold that is empty when normalised counts as none,
            as in SQuAD 2.0.
    """
    out = np.empty((len(answers), 2))
    for row, (answer, gold) in enumerate(zip(answers, golds, strict=True)):
        right = [text for text in gold if normalise(text)] or [""]
        out[row] = max(exact_match(answer, text) for text in right), max(f1(answer, text) for text in right)
    return out


def summary(scores: np.ndarray, answerable: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Means with bootstrap 95 % intervals over rows; apart for questions with and without answers if there are both.

    Args:
        scores: of `row_scores`, `[n, 2]`.
        answerable: `[n]` bool.
        seed: of the resampling.
    """
    random = np.random.default_rng(seed)
    drawn = np.array([scores[random.integers(len(scores), size=len(scores))].mean(0) for _ in range(RESAMPLES)])
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    metrics: dict[str, float] = {}
    for column, name in enumerate(("exact_match", "f1")):
        metrics[name] = float(scores[:, column].mean())
        metrics |= {f"{name}_low": float(low[column]), f"{name}_high": float(high[column])}
    if answerable.any() and not answerable.all():
        for name, part in (("has_answer", scores[answerable]), ("no_answer", scores[~answerable])):
            metrics |= {f"{name}_exact_match": float(part[:, 0].mean()), f"{name}_f1": float(part[:, 1].mean())}
    return metrics | {"rows": len(scores)}
