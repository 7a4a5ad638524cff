"""How well entities, or tags of words, are found: precision, recall and F1 as seqeval counts them.

An entity is right where its beginning, its end and its kind are (Tjong Kim Sang and De Meulder 2003).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from patchword.tasks.metrics import RESAMPLES

Entity = tuple[int, int, str]


def entity_counts(
    truth: Sequence[Sequence[Entity]], found: Sequence[Sequence[Entity]], kinds: Sequence[str]
) -> np.ndarray:
    """(right, found, true) entities of each kind in each sentence, `[sentences, kinds, 3]`."""
    number = {kind: i for i, kind in enumerate(kinds)}
    counts = np.zeros((len(truth), len(kinds), 3), np.int64)
    for row, true, said in zip(counts, truth, found, strict=True):
        for place, entities in enumerate((set(true) & set(said), said, true)):
            for *_, kind in entities:
                row[number[kind], place] += 1
    return counts


def tag_counts(truth: Sequence[np.ndarray], found: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """(right, found, true) words of each class in each sentence, `[sentences, classes, 3]`."""
    counts = np.zeros((len(truth), classes, 3), np.int64)
    for row, true, said in zip(counts, truth, found, strict=True):
        for place, tags in enumerate((true[true == said], said, true)):
            row[:, place] = np.bincount(tags, minlength=classes)
    return counts


def entity_scores(counts: np.ndarray, kinds: Sequence[str], seed: int = 0) -> dict[str, float]:
    """`precision`, `recall`, `f1` over all entities, with a bootstrap 95 % interval over sentences, and F1 by kind."""
    drawn = _resampled(counts.sum(1), seed)
    total = counts.sum((0, 1))
    by_kind = _f1(counts.sum(0))
    return {
        **_with_interval("f1", float(_f1(total)), _f1(drawn)),
        "precision": float(total[0] / max(total[1], 1)),
        "recall": float(total[0] / max(total[2], 1)),
        **{f"f1 {kind}": float(value) for kind, value in zip(kinds, by_kind, strict=True)},
    }


def tag_scores(counts: np.ndarray, seed: int = 0) -> dict[str, float]:
    """`accuracy` and `macro_f1` over words, with bootstrap 95 % intervals over sentences."""
    drawn = _resampled(counts.reshape(len(counts), -1), seed).reshape(-1, *counts.shape[1:])
    total = counts.sum(0)
    return {
        **_with_interval("accuracy", float(_accuracy(total)), _accuracy(drawn)),
        **_with_interval("macro_f1", float(_macro_f1(total)), _macro_f1(drawn)),
    }


def by_kind(counts: np.ndarray, kinds: Sequence[str]) -> list[dict[str, str | float | int]]:
    """Precision, recall, F1 and the number of each kind, from its (right, found, true), `[kinds, 3]`."""
    return [
        {
            "label": kind,
            "precision": float(right / max(found, 1)),
            "recall": float(right / max(true, 1)),
            "f1": float(f1),
            "rows": int(true),
        }
        for kind, (right, found, true), f1 in zip(kinds, counts, _f1(counts), strict=True)
    ]


def _f1(counts: np.ndarray) -> np.ndarray:
    """Of (right, found, true) in the last axis; 0 where there is neither."""
    return np.asarray(2 * counts[..., 0] / np.maximum(counts[..., 1] + counts[..., 2], 1))


def _accuracy(counts: np.ndarray) -> np.ndarray:
    return np.asarray(counts[..., 0].sum(-1) / np.maximum(counts[..., 2].sum(-1), 1))


def _macro_f1(counts: np.ndarray) -> np.ndarray:
    """Mean over the classes that stand in the targets or the predictions."""
    there = counts[..., 1] + counts[..., 2] > 0
    return np.asarray(_f1(counts).sum(-1) / np.maximum(there.sum(-1), 1))


def _resampled(counts: np.ndarray, seed: int) -> np.ndarray:
    """Sums of as many sentences drawn with replacement, `[RESAMPLES, ...]`."""
    random = np.random.default_rng(seed)
    draws = (
        np.bincount(random.integers(len(counts), size=len(counts)), minlength=len(counts)) for _ in range(RESAMPLES)
    )
    return np.stack([times @ counts for times in draws])


def _with_interval(name: str, value: float, samples: np.ndarray) -> dict[str, float]:
    low, high = np.quantile(samples, [0.025, 0.975])
    return {name: value, f"{name}_low": float(low), f"{name}_high": float(high)}


def commonest(pairs: Sequence[tuple[Hashable, int]], classes: int) -> tuple[dict[Hashable, int], int]:
    """The commonest class of each word, and that of words seen once, which stands for words never seen."""
    seen: dict[Hashable, np.ndarray] = {}
    for word, tag in pairs:
        seen.setdefault(word, np.zeros(classes, np.int64))[tag] += 1
    once = sum((counts for counts in seen.values() if counts.sum() == 1), np.zeros(classes, np.int64))
    return {word: int(counts.argmax()) for word, counts in seen.items()}, int(once.argmax())
