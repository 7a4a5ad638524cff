"""What duplicates tell, of texts and pictures alike: labels that contradict, repeats, rows in two splits.

Each function is given group numbers, one a row: rows of one number are the same, or nearly.
"""

from __future__ import annotations

import numpy as np

from patchword.checks.findings import SHOWN, Finding, Harm, shown
from patchword.checks.labels import comparable
from patchword.data.duplicates import Ids
from patchword.data.sources import Labelled, Rows

_BY_NATURE = 0.25
"""Share of rows that are nearly the same from which on that tells of the kind of data more than of copies."""
_THINGS = {"text": "texts", "image": "pictures"}


def contradictions(data: Labelled, name: str, groups: Ids, problem: str | None = None) -> list[Finding]:
    """Inputs that are the same, with different labels."""
    if data.labels is None:
        return []
    labels = [comparable(label, problem) for label in data.labels]
    wrong = [rows for rows in _together(groups) if len({labels[row] for row in rows}) > 1]
    if not wrong:
        return []
    count = sum(map(len, wrong))
    # Of a row that stands a hundred times, one of each label tells enough.
    told = [row for rows in wrong[:SHOWN] for row in {labels[row]: row for row in reversed(rows)}.values()]
    places = [f"{data.origins[row]}: {data.labels[row]}" for row in sorted(told, key=lambda row: (groups[row], row))]
    thing = _THINGS[data.modality]
    title = f"{name}: {thing} that are the same but have different labels: {len(wrong):,}, in {count:,} rows"
    what = f"Decide on one label for each {thing[:-1]}."
    return [Finding(Harm.CONTRADICTION, title, places[:SHOWN], what, count)]


def repeats(data: Labelled, name: str, exact: Ids, near: Ids) -> list[Finding]:
    """Rows that are the same as an earlier one of their split, and such that are nearly."""
    findings = []
    said: set[int] = set()
    for kind, groups in (("the same as", exact), ("nearly the same as", near)):
        together = [rows for rows in _together(groups) if not said.issuperset(rows[1:])]
        again = [row for rows in together for row in rows[1:] if row not in said]
        if again:
            pairs = [f"{data.origins[rows[0]]} and {data.origins[rows[1]]}" for rows in together]
            title = f"{name}: rows that are {kind} an earlier one: {len(again):,} of {len(data):,}"
            what = "They count double; remove them if that is not meant."
            if groups is near and len(again) > _BY_NATURE * len(data):
                what = "So many: things of one kind, such as letters, may be this alike by nature. Look at some."
            counted = f"{title} ({len(again) / len(data):.1%})"
            findings.append(Finding(Harm.REPEATS, counted, pairs[:SHOWN], what, len(again)))
        said.update(again)
    return findings


def leakage(name: str, other: Rows, train: Ids, groups: Ids, near: bool = False) -> list[Finding]:
    """Rows of another split that stand in the training data.

    Args:
        name: of the other split.
        other: its rows.
        train, groups: group numbers of the training data and of the other split.
        near: the groups hold what is nearly the same, too.
    """
    rows = np.flatnonzero(np.isin(groups, train)).tolist()
    if not rows:
        return []
    are = "are, or nearly are," if near else "are"
    title = f"{name} rows that {are} in the training data: {len(rows):,} of {len(other):,}"
    what = f"Remove them from one of the two; {len(other) - len(rows):,} {name} rows would remain."
    return [Finding(Harm.LEAK, title, shown(other.origins, rows), what, len(rows))]


def _together(groups: Ids) -> list[list[int]]:
    """The rows of each group that has several, by their first one."""
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    return sorted(part.tolist() for part in parts if len(part) > 1)
