"""Labelled rows: what they are, and which of them are held back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from patchword.data.duplicates import same_inputs
from patchword.data.loader import Examples
from patchword.data.sources import Rows
from patchword.tasks.labels import MULTI, REGRESSION, SINGLE, LabelSet, split, split_groups


class LabelledExamples(Examples):
    """Rows with targets; `targets` is None where labels are what is asked for."""

    targets: np.ndarray
    origins: Sequence[str] = ()
    """Where each came from, such as "tickets.csv, row 7"; empty where nobody knows."""
    notes: Sequence[str] = ()
    facts: Mapping[str, Any] = {}
    settings: Mapping[str, Any] = {}
    """What was decided about how inputs are read, by the names of `Ask`: all others are read like that."""

    def parts(self) -> tuple[Examples, np.ndarray]:
        """What is read to predict, and the number of the example that each belongs to: each its own where not said."""
        return self, np.arange(len(self))

    def raw(self) -> Any:
        """The inputs as the floors read them: texts, or pixels `[n, numbers]`."""
        raise TypeError("labelled examples know their inputs")

    def shown(self) -> Sequence[Any]:
        """The inputs as a person reads them: texts or pairs; None for each where they are neither."""
        return [None] * len(self)


def rows_of(labels: LabelSet, targets: np.ndarray) -> dict[str, int]:
    """How many rows each label has."""
    counts = targets.sum(0) if labels.problem == MULTI else np.bincount(targets, minlength=len(labels.names))
    return dict(zip(labels.names, map(int, counts), strict=True))


_ONE_CLASS = LabelSet(("",), SINGLE)


def held_back(
    rows: Rows, share: float, seed: int, label_set: LabelSet = _ONE_CLASS, targets: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, str]:
    """Row numbers to learn from and to validate on, and what is told of rows that are the same.

    Args:
        rows: those that are the same go to one side.
        share: of the rows, for validation.
        seed: fixes who goes where.
        label_set, targets: classes that are held back in their proportion; without them, rows are drawn from all.
    """
    if targets is None:
        targets = np.zeros(len(rows), np.int64)
    groups = same_inputs(rows.inputs)
    alike = int((np.bincount(groups)[groups] > 1).sum())
    by_row = split(label_set, targets, share, seed)
    if not alike:
        return *by_row, ""
    learn, hold = split_groups(label_set, targets, groups, share, seed)
    of_rows, of_groups = (len(np.unique(targets[some])) for some in (by_row[1], hold))
    if 2 * len(hold) > len(by_row[1]) and (label_set.problem != SINGLE or 2 * of_groups > of_rows):
        return learn, hold, f"; {alike:,} rows that are the same as others are on the same side as those"
    return *by_row, f"; so few rows differ ({groups.max() + 1:,}) that the same ones are on both sides"


def told(labels: LabelSet, targets: np.ndarray) -> str:
    """What the labels are, in a sentence."""
    if labels.problem == REGRESSION:
        return (
            f"The labels are decimals: a regression of '{labels.names[0]}' from {targets.min():.4g} to "
            f"{targets.max():.4g}, mean {targets.mean():.4g}."
        )
    counts = targets.sum(0) if labels.problem == MULTI else np.bincount(targets, minlength=len(labels.names))
    order = np.argsort(-counts, kind="stable")
    shown = ", ".join(f"{labels.names[i]} {int(counts[i]):,}" for i in order[:6])
    more = f", ... {labels.names[order[-1]]} {int(counts[order[-1]]):,}" if len(order) > 6 else ""
    kind = "labels, several a row" if labels.problem == MULTI else "labels"
    return f"{len(labels.names)} {kind}: {shown}{more}."
