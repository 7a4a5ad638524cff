"""Where a classifier is wrong: by class, by confusion, by slice, and its most confident mistakes.

n rows, c classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from patchword.tasks.labels import MULTI, SINGLE
from patchword.tasks.metrics import softmax

MISTAKES = 20
CONFUSIONS = 20
MOST_CLASSES = 30
"""A confusion matrix of more classes is not kept; its largest cells are."""
_FEWEST = 20  # rows of a slice: of fewer, an accuracy says little
_SHOWN = 400  # characters of a text
_NORMAL = 1.959964  # 97.5 % of a normal distribution lie below


def review(
    logits: np.ndarray,
    targets: np.ndarray,
    problem: str,
    labels: Sequence[str],
    inputs: Sequence[Any],
    origins: Sequence[str],
    lengths: np.ndarray,
) -> dict[str, Any]:
    """What is told of the mistakes on rows that were held back; of bounded size, whatever n is.

    Args:
        logits: `[n, c]`.
        targets: as `LabelSet.encode` gives them for one or several labels a row.
        problem: single or multi label; of the latter there are only the numbers of each class.
        labels: names of the classes.
        inputs: texts or pairs of them, which are shown; anything else is told by its origin alone.
        origins: where each row came from, such as "tickets.csv, row 7"; empty where nobody knows.
        lengths: tokens of each row, `[n]`.
    """
    classes = len(labels)
    if problem == MULTI:
        truth, chosen = targets > 0.5, logits > 0
        right, said, is_ = (truth & chosen).sum(0), chosen.sum(0), truth.sum(0)
        return {"classes": _per_class(labels, right, said, is_)}
    if problem != SINGLE:
        return {}
    predicted = logits.argmax(1)
    matrix = np.bincount(targets * classes + predicted, minlength=classes**2).reshape(classes, classes)
    correct = predicted == targets
    told: dict[str, Any] = {
        "classes": _per_class(labels, np.diag(matrix), matrix.sum(0), matrix.sum(1)),
        "confusions": _confusions(labels, matrix),
        "mistakes": _mistakes(softmax(logits.astype(np.float64)), targets, labels, inputs, origins),
        "slices": _slices(correct, targets, labels, lengths),
    }
    if classes <= MOST_CLASSES:
        told["confusion_matrix"] = matrix.tolist()
    return told


def evenly(rows: int, most: int) -> list[int]:
    """Numbers of so many rows at most, evenly spread."""
    return [n * rows // min(rows, most) for n in range(min(rows, most))]


def shortened(item: Any) -> str:
    """A text, or both of a pair, at the length that is shown; "" for what is no text."""
    text = " | ".join(item) if isinstance(item, tuple) else item
    if not isinstance(text, str):
        return ""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3].rstrip() + "..."


def wilson(right: int, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); unlike a bootstrap, it has a width where all are right."""
    share, z2 = right / rows, _NORMAL**2
    middle = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = _NORMAL * math.sqrt(share * (1 - share) / rows + z2 / (4 * rows**2)) / (1 + z2 / rows)
    return middle - half, middle + half


def _per_class(labels: Sequence[str], right: np.ndarray, said: np.ndarray, rows: np.ndarray) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each class; 0 where there is nothing to divide by, as scikit-learn has it."""
    return [
        {
            "label": label,
            "precision": float(hits / max(given, 1)),
            "recall": float(hits / max(true, 1)),
            "f1": float(2 * hits / max(given + true, 1)),
            "rows": int(true),
        }
        for label, hits, given, true in zip(labels, right, said, rows, strict=True)
    ]


def _confusions(labels: Sequence[str], matrix: np.ndarray) -> list[dict[str, Any]]:
    """The largest cells beside the diagonal; `share` is that of the class's rows."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]
    cells = [divmod(int(cell), len(labels)) for cell in order]
    return [
        {"is": labels[i], "said": labels[j], "rows": int(wrong[i, j]), "share": float(wrong[i, j] / matrix[i].sum())}
        for i, j in cells
        if wrong[i, j]
    ]


def _mistakes(
    chances: np.ndarray, targets: np.ndarray, labels: Sequence[str], inputs: Sequence[Any], origins: Sequence[str]
) -> list[dict[str, Any]]:
    """The wrong rows, surest first; `row` is the number among the rows that were held back."""
    predicted, sure = chances.argmax(1), chances.max(1)
    wrong = np.flatnonzero(predicted != targets)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")]
    return [
        {
            "row": row,
            "origin": origins[row] if origins else "",
            "text": shortened(inputs[row]),
            "said": labels[predicted[row]],
            "is": labels[targets[row]],
            "confidence": float(sure[row]),
        }
        for row in wrong[:MISTAKES].tolist()
    ]


def _slices(
    correct: np.ndarray, targets: np.ndarray, labels: Sequence[str], lengths: np.ndarray
) -> list[dict[str, Any]]:
    """Accuracy of each class and of each quarter by length, worst first."""
    slices = {f"label {label}": targets == number for number, label in enumerate(labels)}
    ends = np.unique(np.quantile(lengths, [0.25, 0.5, 0.75, 1.0], method="higher"))
    if len(ends) > 1:
        low = 0.0
        for end in ends.tolist():
            inside = (lengths > low) & (lengths <= end)
            slices[f"{int(lengths[inside].min())} to {int(end)} tokens"] = inside
            low = end
    told: list[dict[str, Any]] = []
    for name, inside in slices.items():
        rows, right = int(inside.sum()), int(correct[inside].sum())
        if rows >= _FEWEST:
            least, most = wilson(right, rows)
            told.append(
                {"slice": name, "accuracy": right / rows, "accuracy_low": least, "accuracy_high": most, "rows": rows}
            )
    return sorted(told, key=lambda piece: piece["accuracy"])[:MISTAKES]
