"""Labels: what kind they are, what they are called, and which number stands for which."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from patchword.data.label_cells import MULTI, REGRESSION, SINGLE, labels_of, problem_of
from patchword.data.names import class_name
from patchword.errors import UserError, did_you_mean

PROBLEMS = (SINGLE, MULTI, REGRESSION)


@dataclass(frozen=True)
class LabelSet:
    """The classes of a model, in a fixed order; for a regression, the name of the number.

    Args:
        names: one a class. Their order is by name, never by the order of rows.
        problem: one of `PROBLEMS`.
    """

    names: tuple[str, ...]
    problem: str

    @property
    def ordinal(self) -> bool:
        """Whether the classes are whole numbers one after another, three at least: stars from 1 to 5."""
        first = self.names[0]
        return (
            self.problem == SINGLE
            and len(self.names) > 2
            and re.fullmatch(r"-?\d{1,9}", first) is not None
            and self.names == tuple(str(int(first) + i) for i in range(len(self.names)))
        )

    @classmethod
    def find(cls, values: Sequence[Any], column: str, problem: str | None = None) -> LabelSet:
        """What a column of labels is: lists are several classes a row, decimals a number, all else one class a row.

        Whole numbers among decimals are decimals: JSON writes 1.0 as 1 in many languages.

        Where several classes a row are asked for, a text is cut into them at "|" and ";".

        Raises:
            UserError: fewer than two classes, or values that do not fit the problem asked for.
        """
        problem = problem or problem_of(values)
        if problem not in PROBLEMS:
            raise UserError(f"There is no problem '{problem}'{did_you_mean(problem, PROBLEMS)} There are: {PROBLEMS}.")
        if problem == REGRESSION:
            return cls((column,), REGRESSION)
        if problem == SINGLE and (lists := [value for value in values if isinstance(value, list | tuple)]):
            raise UserError(
                f"The column '{column}' holds lists of labels, such as {str(lists[0])[:60]}, several labels a row: "
                f"leave --problem {SINGLE} out, or use --problem {MULTI}."
            )
        flat = [v for value in values for v in labels_of(value)] if problem == MULTI else values
        names = tuple(sorted({str(value) for value in flat}, key=_natural))
        if len(names) < 2:
            held = f"one label only, '{names[0]}'" if names else "no label"
            raise UserError(f"The column '{column}' holds {held}; there is nothing to tell apart.")
        return cls(names, problem)

    def encode(self, values: Sequence[Any], origins: Sequence[str]) -> np.ndarray:
        """Targets for a loss: class numbers `[n]` int64, or `[n, classes]` float32 (0 and 1), or `[n, 1]` numbers.

        Raises:
            UserError: a label that is not among the names, with its row.
        """
        if self.problem == REGRESSION:
            return np.array([[_number(v, origins, row)] for row, v in enumerate(values)], np.float32)
        number = {class_name(name): i for i, name in enumerate(self.names)}
        if self.problem == SINGLE:
            return np.array([self._find(number, v, origins, row) for row, v in enumerate(values)], np.int64)
        targets = np.zeros((len(values), len(self.names)), np.float32)
        for row, value in enumerate(values):
            for v in labels_of(value, number):
                targets[row, self._find(number, v, origins, row)] = 1.0
        return targets

    def _find(self, number: dict[str, int], value: Any, origins: Sequence[str], row: int) -> int:
        name = str(value)
        if name not in number and type(value) in (int, float):
            # The number 1 of a typed table is 1.0 in another one, where its column holds an empty cell.
            name = next((other for other in (f"{value:.0f}", f"{value:.1f}") if _same(other, value, number)), name)
        if name not in number:
            shown = ", ".join(self.names[:12]) + (", ..." if len(self.names) > 12 else "")
            raise UserError(
                f"{origins[row]}: the label '{name}' is not one that the model knows{did_you_mean(name, number)} "
                f"Known labels: {shown}."
            )
        return number[name]


def _same(name: str, value: float, known: Collection[str]) -> bool:
    return name in known and float(name) == value


def _natural(name: str) -> tuple[bool, float, str]:
    """Numbers by size and before words, words by letters: 2 stands before 10."""
    try:
        number = float(name)
    except ValueError:
        number = math.nan
    return (False, number, name) if math.isfinite(number) else (True, 0.0, name)


def _number(value: Any, origins: Sequence[str], row: int) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise UserError(f"{origins[row]}: '{value}' is no number, but the label is one in a regression.")
    return number


def class_weights(labels: LabelSet, targets: np.ndarray) -> np.ndarray:
    """What a row of each class counts in the loss so that all classes count alike, `[classes]` float32.

    One label a row: the inverse of the class's share, so that the mean over the rows is 1. Several: rows without the
    label for each one with it, which is what a row with it counts. A class without rows has 1.

    Raises:
        UserError: there are no classes.
    """
    if labels.problem == REGRESSION:
        raise UserError("Class weights need classes; the label is a number. Leave --class-weights out.")
    counts = targets.sum(0) if labels.problem == MULTI else np.bincount(targets, minlength=len(labels.names))
    there = counts > 0
    others = len(targets) - counts if labels.problem == MULTI else np.full(len(counts), len(targets) / there.sum())
    # A label that every row has would count nothing.
    return np.where(there, np.maximum(others, 1) / np.maximum(counts, 1), 1.0).astype(np.float32)


def split_groups(
    labels: LabelSet, targets: np.ndarray, groups: np.ndarray, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """As `split`, where the rows of one group all go to one side: a group is drawn by the class of its first row.

    Groups of more rows than are wanted for validation are learnt from. So nothing may be held back where nearly all
    rows are alike.

    Args:
        groups: number of the group of each row, `[n]`.
    """
    _, first, sizes = np.unique(groups, return_index=True, return_counts=True)
    first = np.sort(first[sizes <= max(share * len(groups), 2)])
    _, drawn = split(labels, targets[first], share, seed)
    held = np.isin(groups, groups[first[drawn]])
    return np.flatnonzero(~held), np.flatnonzero(held)


def split(labels: LabelSet, targets: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers to learn from and to validate on, every class in both in its proportion where it has rows enough.

    Args:
        share: of the rows, for validation.
        seed: fixes who goes where.
    """
    random = np.random.default_rng(seed)
    kept_back = []
    carry = 0.0
    for group in _strata(labels, targets):
        # The remainder goes on to the next class: small classes together give their share, too.
        wanted = share * len(group) + carry
        count = min(int(wanted + 0.5), max(len(group) - 1, 0))
        carry = min(wanted - count, 0.5)  # what single rows can not give is not asked of a common class
        kept_back.append(random.permutation(group)[:count])
    validation = np.sort(np.concatenate(kept_back))
    return np.setdiff1d(np.arange(len(targets)), validation), validation


def cross_validation_folds(
    labels: LabelSet, targets: np.ndarray, groups: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """Number of the fold of each row, `[n]`: every class in all folds alike, the rows of one group in the same fold.

    Args:
        groups: number of the group of each row, `[n]`; it is dealt out by the class of its first row.
        count: of folds.
        seed: fixes who goes where.
    """
    random = np.random.default_rng(seed)
    _, first, group_of = np.unique(groups, return_index=True, return_inverse=True)
    fold_of = np.zeros(len(first), np.int64)
    # Folds differ by one row at most in each class; the next class begins where the last one ended, so that classes of
    # fewer rows than folds do not all go into the first ones.
    order = np.concatenate([random.permutation(part) for part in _strata(labels, targets[first])])
    fold_of[order] = np.arange(len(order)) % count
    return fold_of[group_of]


def _strata(labels: LabelSet, targets: np.ndarray) -> list[np.ndarray]:
    """Row numbers of each class; of numbers to predict, of neighbouring values."""
    if labels.problem == SINGLE:
        return [np.flatnonzero(targets == c) for c in range(len(labels.names))]
    if labels.problem == MULTI:
        # By the rarest class that a row has, so that rare ones are not lost to one side.
        rarity = np.where(targets > 0, -targets.sum(0), -np.inf)
        kind = np.where(targets.any(1), rarity.argmax(1), -1)
        return [np.flatnonzero(kind == c) for c in np.unique(kind)]
    order = np.argsort(targets[:, 0], kind="stable")
    return np.array_split(order, max(1, len(order) // 20))
