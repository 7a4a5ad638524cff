"""Checks of labels by themselves: names that look alike, classes with few rows."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from patchword.checks.findings import SHOWN, Finding, Severity
from patchword.data.sources import Labelled

FEW = 5
"""Rows under which a class can hardly be learnt, and not be judged."""
_UNEVEN = 20  # times as many rows in the commonest class as in the rarest
_LONG_NAME = 6  # characters from which on one different letter is more likely a typo than another word


def label_counts(data: Labelled) -> dict[str, int]:
    """Rows of each label, the commonest first; nothing where the labels are decimals."""
    cells: list[Any] = data.labels or []
    if any(isinstance(cell, float) for cell in cells):
        return {}
    counts = Counter(str(label) for cell in cells for label in (cell if isinstance(cell, list) else [cell]))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def label_findings(data: Labelled) -> list[Finding]:
    """One class only, classes with few rows, classes of very different size, and names that look alike."""
    counts = label_counts(data)
    findings = look_alikes(data)
    if len(counts) == 1:
        (only,) = counts
        findings.append(Finding("problem", f"All rows have the label {only!r}", [], "Give rows of a second class."))
    rare = [f"{name}: {count}" for name, count in reversed(counts.items()) if count < FEW]
    if rare:
        title = f"Classes with fewer than {FEW} rows: {len(rare):,} of {len(counts):,}"
        many = len(rare) > len(counts) / 2
        what = "Are these labels, or free text or numbers?" if many else "Give more rows, or join them with others."
        findings.append(Finding("problem" if many else "look", title, rare[:SHOWN], what))
    numbers = list(counts.values())
    if len(numbers) > 1 and numbers[0] >= _UNEVEN * numbers[-1]:
        most, least = next(iter(counts)), next(reversed(counts))
        title = f"The classes differ much in size: {numbers[0] / numbers[-1]:,.0f} times"
        places = [f"{most}: {numbers[0]:,}", f"{least}: {numbers[-1]:,}"]
        what = "Judge by the macro F1; --class-weights auto makes all classes count alike."
        findings.append(Finding("look", title, places, what))
    return findings


def unknown_labels(train: Labelled, other: Labelled, name: str) -> list[Finding]:
    """Labels of another split that no row of the training data has."""
    known = label_counts(train)
    new = {label: count for label, count in label_counts(other).items() if label not in known}
    if not new or not known:
        return []
    title = f"{name}: labels that no training row has: {len(new):,}"
    places = [f"{label}: {count:,}" for label, count in new.items()]
    return [Finding("problem", title, places[:SHOWN], "Rename them, or give rows of them to learn from.")]


def look_alikes(data: Labelled) -> list[Finding]:
    """Label names that differ by case, spaces, hyphens, Unicode form, one letter of a long name, or a plural s.

    A rare name one letter away from one that is not rare is taken for a typo; any other two that differ by a letter
    may be two words, as A and a may be two letters: that is to be looked at. Work grows with the number of names,
    not with that of their pairs.
    """
    names = {name: count for name, count in label_counts(data).items() if not re.search(r"\d", name)}
    same: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        same[_plain(name)].append(name)
    wrong = [pair for plain, group in same.items() if len(plain) > 1 for pair in itertools.pairwise(group)]
    unsure = [pair for plain, group in same.items() if len(plain) == 1 for pair in itertools.pairwise(group)]
    for one, other in _one_letter_apart(list(same)):
        pair = same[one][0], same[other][0]
        low, high = sorted(names[name] for name in pair)
        typo = low < FEW <= high and other != one + "s"
        (wrong if typo else unsure).append(pair)
    return [*_alike("problem", wrong, names), *_alike("look", unsure, names)]


def _alike(severity: Severity, pairs: list[tuple[str, str]], names: dict[str, int]) -> list[Finding]:
    if not pairs:
        return []
    places = [f"{one!r} (rows: {names[one]:,}) and {other!r} ({names[other]:,})" for one, other in pairs[:SHOWN]]
    title = f"Pairs of labels with names that look like one label: {len(pairs):,}"
    return [Finding(severity, title, places, "Give them one name if they mean the same.")]


def _plain(name: str) -> str:
    plain = re.sub(r"[\s_\-.,;:!]+", "", unicodedata.normalize("NFKC", name).casefold())
    return plain or name


def _one_letter_apart(names: list[str]) -> Iterator[tuple[str, str]]:
    """Pairs of names of which one is the other with a letter more or another one, or with an s at its end.

    Both then leave the same text when the right letter is taken out of them.
    """
    by_rest: dict[tuple[str, int], list[str]] = defaultdict(list)
    found: dict[tuple[str, str], None] = {}
    known = set(names)
    for name in names:
        if len(name) > 2 and name + "s" in known:
            found[name, name + "s"] = None
        if len(name) < _LONG_NAME:
            continue
        for at in range(len(name)):
            rest = name[:at] + name[at + 1 :]
            by_rest[rest, at].append(name)
            if rest in known and len(rest) >= _LONG_NAME:
                found.setdefault((rest, name), None)
    for group in by_rest.values():
        for one, other in itertools.pairwise(group):
            found.setdefault((one, other), None)
    yield from found
