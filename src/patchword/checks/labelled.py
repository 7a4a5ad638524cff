"""Checks of labelled texts: labels that contradict, label names that look alike, rows in two splits."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter

from patchword.checks.findings import Finding
from patchword.data.duplicates import duplicate_groups
from patchword.data.sources import Labelled

_SHOWN = 5
_LONG_NAME = 6  # characters from which on one different letter is more likely a typo than another word


def contradictions(data: Labelled) -> list[Finding]:
    """Texts that are the same once normalised, with different labels."""
    if data.labels is None or data.modality != "text":
        return []
    groups = duplicate_groups([str(text) for text in data.inputs], near=False)
    rows: dict[int, list[int]] = {}
    for row, group in enumerate(groups.tolist()):
        rows.setdefault(group, []).append(row)
    labels = data.labels
    wrong = [some for some in rows.values() if len({repr(labels[row]) for row in some}) > 1]
    if not wrong:
        return []
    places = [f"{data.origins[row]}: {labels[row]}" for row in itertools.chain(*wrong)]
    title = f"Texts that are the same but have different labels: {len(wrong):,}, in {len(places):,} rows"
    return [Finding("problem", title, places[:_SHOWN], "Decide on one label for each text.")]


def look_alikes(data: Labelled) -> list[Finding]:
    """Label names that differ by case, spaces, hyphens, Unicode form, a plural s, or one letter of a long name."""
    names = Counter(label for label in data.labels or [] if isinstance(label, str))
    pairs = [
        f"{one!r} ({names[one]:,} rows) and {other!r} ({names[other]:,} rows)"
        for one, other in itertools.combinations(sorted(names), 2)
        if _look_alike(_plain(one), _plain(other))
    ]
    if not pairs:
        return []
    title = f"Pairs of labels with names that look like one label: {len(pairs):,}"
    return [Finding("problem", title, pairs[:_SHOWN], "Give them one name if they mean the same.")]


def leakage(train: Labelled, other: Labelled, name: str) -> list[Finding]:
    """Texts of another split that are, or nearly are, in the training data."""
    if train.modality != "text" or other.modality != "text":
        return []
    groups = duplicate_groups([str(text) for text in (*train.inputs, *other.inputs)]).tolist()
    seen = set(groups[: len(train)])
    rows = [row for row, group in enumerate(groups[len(train) :]) if group in seen]
    if not rows:
        return []
    left = len(other) - len(rows)
    title = f"{name} rows that are, or nearly are, in the training data: {len(rows):,} of {len(other):,}"
    places = [other.origins[row] for row in rows[:_SHOWN]]
    return [Finding("problem", title, places, f"Remove them from one of the two; {left:,} {name} rows would remain.")]


def _plain(name: str) -> str:
    plain = re.sub(r"[\s_\-.,;:!]+", "", unicodedata.normalize("NFKC", name).casefold())
    return name if re.search(r"\d", name) else plain  # -1 and 1, or 1.0 and 10, are different


def _look_alike(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    if re.search(r"\d", one + other):
        return False
    if short == long or (len(short) > 2 and long == short + "s"):
        return True
    if len(short) < _LONG_NAME or len(long) - len(short) > 1:
        return False
    at = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    return short[at + (len(short) == len(long)) :] == long[at + 1 :]
