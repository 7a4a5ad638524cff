"""Labelled rows: what they are, and which of them are held back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from patchword.data.duplicates import same_inputs
from patchword.data.loader import Batch, Examples
from patchword.data.sources import Rows
from patchword.tasks.labels import (
    MULTI,
    REGRESSION,
    SINGLE,
    LabelSet,
    cross_validation_folds,
    split,
    split_groups,
)


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


class ChosenRows(LabelledExamples):
    """Some rows of a set, which are read as the set reads them.

    Args:
        whole: the set.
        ids: numbers of the rows, ascending.
    """

    def __init__(self, whole: LabelledExamples, ids: np.ndarray) -> None:
        self.whole, self.ids = whole, ids
        self.targets = whole.targets[ids]
        self.origins = [whole.origins[i] for i in ids] if whole.origins else ()

    def __len__(self) -> int:
        return len(self.ids)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Those of the set."""
        return self.whole.lengths(self.ids[ids])

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """That of the set."""
        return self.whole.batch(self.ids[ids], key)

    def parts(self) -> tuple[Examples, np.ndarray]:
        """Those of the set that belong to these rows."""
        parts, owners = self.whole.parts()
        wanted = np.flatnonzero(np.isin(owners, self.ids))
        return _Chosen(parts, wanted), np.searchsorted(self.ids, owners[wanted])

    def raw(self) -> Any:
        """Of these rows."""
        return taken(self.whole.raw(), self.ids)

    def shown(self) -> Sequence[Any]:
        """Of these rows."""
        shown = self.whole.shown()
        return [shown[i] for i in self.ids]


class _Chosen(Examples):
    """Some examples of a set."""

    def __init__(self, whole: Examples, ids: np.ndarray) -> None:
        self.whole, self.ids = whole, ids

    def __len__(self) -> int:
        return len(self.ids)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Those of the set."""
        return self.whole.lengths(self.ids[ids])

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """That of the set."""
        return self.whole.batch(self.ids[ids], key)


def rows_of(labels: LabelSet, targets: np.ndarray) -> dict[str, int]:
    """How many rows each label has."""
    counts = targets.sum(0) if labels.problem == MULTI else np.bincount(targets, minlength=len(labels.names))
    return dict(zip(labels.names, map(int, counts), strict=True))


@dataclass(frozen=True)
class Division:
    """Which labelled rows a baseline is trained on, and on which it is scored: the same as the model.

    Args:
        sets: the labelled rows, one set after the other; their rows are numbered through.
        splits: numbers of the rows to train on, and of those to be scored then.
        all_rows: numbers of the rows to train on for any other rows.
        folds: number of the fold of each row; None where there is no cross-validation.
    """

    sets: tuple[LabelledExamples, ...]
    splits: tuple[tuple[np.ndarray, np.ndarray], ...]
    all_rows: np.ndarray
    folds: np.ndarray | None = None

    @classmethod
    def of(
        cls, train: LabelledExamples, validation: LabelledExamples, folds: np.ndarray | None, held_back: bool
    ) -> Division:
        """That of a run.

        Args:
            train, validation: its rows; with folds the same ones.
            folds: number of the fold of each row.
            held_back: whether the validation rows are a part of the data to train on.
        """
        rows = len(train)
        if folds is not None:
            numbers = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in np.unique(folds)]
            return cls((train,), tuple(numbers), np.arange(rows), folds)
        split = (np.arange(rows), np.arange(rows, rows + len(validation)))
        return cls((train, validation), (split,), np.arange(rows + len(validation) * held_back))

    @property
    def targets(self) -> np.ndarray:
        """Of all rows."""
        return np.concatenate([rows.targets for rows in self.sets])

    def raw(self) -> Any:
        """Inputs of all rows, as `LabelledExamples.raw` gives them."""
        raw = [rows.raw() for rows in self.sets]
        return np.concatenate(raw) if isinstance(raw[0], np.ndarray) else [item for part in raw for item in part]

    def shown(self) -> list[tuple[Any, str]]:
        """Input of each row as a person reads it, and its origin."""
        return [pair for rows in self.sets for pair in zip(rows.shown(), rows.origins or [""] * len(rows), strict=True)]

    def scored(
        self, fit: Callable[[Any, np.ndarray, Any], Mapping[str, np.ndarray]], inputs: Any, other: Any = None
    ) -> dict[str, dict[str, np.ndarray]]:
        """Scores by each method: in "validation" of the rows there, in their order, and in "test" of other rows.

        Args:
            fit: inputs to train on, targets, inputs to be scored -> scores `[rows, classes]` by method.
            inputs: of all rows, `raw` or vectors.
            other: of the other rows; there are none where not given.
        """
        targets = self.targets
        parts = [fit(taken(inputs, learn), targets[learn], taken(inputs, judged)) for learn, judged in self.splits]
        order = np.argsort(np.concatenate([judged for _, judged in self.splits]))
        found = {"validation": {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}}
        if other is not None:
            found["test"] = dict(fit(taken(inputs, self.all_rows), targets[self.all_rows], other))
        return found


def taken(inputs: Any, ids: np.ndarray) -> Any:
    """Some of the inputs: of an array, or of a list."""
    return inputs[ids] if isinstance(inputs, np.ndarray) else [inputs[i] for i in ids]


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


def folds_of(rows: Rows, count: int, seed: int, label_set: LabelSet, targets: np.ndarray) -> tuple[np.ndarray, str]:
    """Number of the fold of each row, `[n]`, and a clause about rows that are equal.

    Args:
        rows: equal ones go into the same fold, unless most of them are equal.
        count: of folds.
        seed: fixes who goes where.
        label_set, targets: each class is in all folds alike.
    """
    groups = same_inputs(rows.inputs)
    sizes = np.bincount(groups)
    equal = int((sizes[groups] > 1).sum())
    if not equal:
        return cross_validation_folds(label_set, targets, groups, count, seed), ""
    # A fold larger than half of the rows would leave its model too little to train on.
    if sizes.max() * 2 <= len(groups) and len(sizes) >= 2 * count:
        folds = cross_validation_folds(label_set, targets, groups, count, seed)
        return folds, f"; {equal:,} rows that are equal to others are in the same fold as those"
    each = np.arange(len(groups))
    folds = cross_validation_folds(label_set, targets, each, count, seed)
    return folds, f"; so few rows differ ({len(sizes):,}) that equal ones are in several folds"


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
