"""Checks of labels by themselves: names that look alike, classes with few rows."""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from patchword.checks.findings import SHOWN, Finding, Harm
from patchword.data.label_cells import MULTI, REGRESSION, labels_of, problem_of
from patchword.data.sources import Labelled

FEW = 5
"""Rows under which a class can hardly be learnt, and not be judged."""
_CHANCE = 0.01  # probability under which labels of a file or split differ from the others' by more than chance
_UNEVEN = 20  # times as many rows in the commonest class as in the rarest
_LONG_NAME = 6  # characters from which on one different letter is more likely a typo than another word


def label_counts(data: Labelled, problem: str | None = None) -> dict[str, int]:
    """Rows of each label, the commonest first; nothing where the labels are numbers to predict.

    Args:
        data: the rows.
        problem: found out from the labels if not given.
    """
    cells: list[Any] = data.labels or []
    problem = problem or problem_of(cells)
    if problem == REGRESSION:
        return {}
    counts = Counter(str(label) for cell in cells for label in (labels_of(cell) if problem == MULTI else [cell]))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def comparable(label: Any, problem: str | None) -> str:
    """The same for two labels that mean the same."""
    if problem == REGRESSION and isinstance(label, int | float | Decimal):
        return repr(float(label))
    return str(label)


def label_findings(data: Labelled, problem: str | None = None) -> list[Finding]:
    """One class only, classes with few rows, classes of very different size, and names that look alike."""
    counts = label_counts(data, problem)
    findings = look_alikes(data, problem)
    if len(counts) == 1:
        (only,) = counts
        what = "Give rows of a second class."
        findings.append(Finding(Harm.UNUSABLE_ROWS, f"All rows have the label {only!r}", [], what, counts[only]))
    rare = [f"{name}: {count}" for name, count in reversed(counts.items()) if count < FEW]
    if rare:
        title = f"Classes with fewer than {FEW} rows: {len(rare):,} of {len(counts):,}"
        many = len(rare) > len(counts) / 2
        what = "Are these labels, or free text or numbers?" if many else "Give more rows, or join them with others."
        harm = Harm.LABEL_NAMES if many else Harm.CLASS_SIZES
        findings.append(Finding(harm, title, rare[:SHOWN], what, sum(n for n in counts.values() if n < FEW)))
    numbers = list(counts.values())
    if len(numbers) > 1 and numbers[0] >= _UNEVEN * numbers[-1]:
        most, least = next(iter(counts)), next(reversed(counts))
        title = f"The classes differ much in size: {numbers[0] / numbers[-1]:,.0f} times"
        places = [f"{most}: {numbers[0]:,}", f"{least}: {numbers[-1]:,}"]
        what = "Judge by the macro F1; --class-weights auto makes all classes count alike."
        findings.append(Finding(Harm.CLASS_SIZES, title, places, what))
    return findings


def compared_labels(train: Labelled, other: Labelled, name: str, problem: str | None = None) -> list[Finding]:
    """Labels of another split that no training row has, and the other way round where that is no chance.

    Args:
        train: the training rows.
        other: those of the other split.
        name: of the other split.
        problem: of the labels.
    """
    known, there = label_counts(train, problem), label_counts(other, problem)
    if not known or not there:
        return []
    findings = []
    new = {label: count for label, count in there.items() if label not in known}
    if new:
        title = f"{name}: labels that no training row has: {len(new):,}"
        what = "Rename them, or give rows of them to learn from."
        findings.append(Finding(Harm.LABEL_SETS, title, _counted(new), what, sum(new.values())))
    # A rare label is missing from a small split by chance.
    rows = sum(there.values())
    missing = {
        label: count
        for label, count in known.items()
        if label not in there and rows * math.log1p(-count / (sum(known.values()) + 1)) < math.log(_CHANCE / len(known))
    }
    if missing:
        title = f"{name}: labels of the training data that no {name} row has: {len(missing):,} of {len(known):,}"
        what = f"Scores on {name} rows say nothing about them. Are the two drawn from the same data?"
        findings.append(Finding(Harm.LABEL_SETS, title, _counted(missing), what, sum(missing.values())))
    return findings


def _counted(labels: Mapping[str, int]) -> list[str]:
    return [f"{label}: {count:,}" for label, count in itertools.islice(labels.items(), SHOWN)]


def label_sets_of_files(data: Labelled, problem: str | None = None) -> list[Finding]:
    """Tables of one split that have labels of their own, where that is no chance.

    A label of which all rows stand in one of several files is so by chance with the probability that they all were
    dealt to it; how many such labels there are is compared with how many there would be. Two files with two labels
    each and none in common are told whatever their size; one file for each class is meant.
    """
    problem = problem or problem_of(data.labels or [])
    if problem == REGRESSION or "label" not in data.columns or not data.labels:
        return []
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for file, label in zip(data.origins.files(), data.labels, strict=True):
        counts[file].update(map(str, labels_of(label) if problem == MULTI else [label]))
    if len(counts) < 2:
        return []
    total: Counter[str] = Counter()
    for some in counts.values():
        total.update(some)
    only_here = {file: [label for label in some if some[label] == total[label]] for file, some in counts.items()}
    only_here = {file: labels for file, labels in only_here.items() if labels}
    several = [file for file, some in counts.items() if len(some) > 1]
    apart = [file for file in several if len(only_here.get(file, ())) == len(counts[file])]
    if not several or (len(apart) < 2 and _by_chance(counts, total, sum(map(len, only_here.values())))):
        return []
    places = [f"{file}: only there: {', '.join(labels[:SHOWN])}" for file, labels in only_here.items()]
    title = (
        f"Files of the training data have labels that no other file has: {len(only_here):,} of {len(counts):,} files"
    )
    what = "They are trained as one set of labels. Rename labels that mean the same, or train on one file."
    rows = sum(total[label] for labels in only_here.values() for label in labels)
    return [Finding(Harm.LABEL_SETS, title, places[:SHOWN], what, rows)]


def _by_chance(counts: Mapping[str, Counter[str]], total: Counter[str], found: int) -> bool:
    """Whether so many labels stand in one file alone if rows are dealt to the files at random (Poisson's tail)."""
    sizes = np.array([sum(some.values()) for some in counts.values()], np.float64)
    expected = float(sum(((sizes / sizes.sum()) ** count).sum() for count in total.values()))
    below = sum(math.exp(k * math.log(expected) - expected - math.lgamma(k + 1)) for k in range(found))
    return 1.0 - below > _CHANCE


def look_alikes(data: Labelled, problem: str | None = None) -> list[Finding]:
    """Label names that differ by case, spaces, hyphens, Unicode form, one letter of a long name, or a plural s.

    A rare name one letter away from one that is not rare is taken for a typo; any other two that differ by a letter
    may be two words, as A and a may be two letters: that is to be looked at. Work grows with the number of names,
    not with that of their pairs.
    """
    names = {name: count for name, count in label_counts(data, problem).items() if not re.search(r"\d", name)}
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
    return [*_alike(Harm.LABEL_NAMES, wrong, names), *_alike(Harm.CLASS_SIZES, unsure, names)]


def _alike(harm: Harm, pairs: list[tuple[str, str]], names: dict[str, int]) -> list[Finding]:
    if not pairs:
        return []
    places = [f"{one!r} (rows: {names[one]:,}) and {other!r} ({names[other]:,})" for one, other in pairs[:SHOWN]]
    title = f"Pairs of labels with names that look like one label: {len(pairs):,}"
    return [Finding(harm, title, places, "Give them one name if they mean the same.", len(pairs))]


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
