"""What is wrong with data, one thing at a time: what, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Harm(IntEnum):
    """How much a finding hurts, the worst first: reports are sorted by it.

    Up to `WRONG_TEXT` it is a problem to fix; the rest is to be looked at.
    """

    UNREADABLE = 1
    """A file can not be read."""
    LEAK = 2
    """Test or validation rows were trained on: every score is too high."""
    LABEL_SETS = 3
    """Splits, or files of one split, have different labels."""
    UNUSABLE_ROWS = 4
    """Training stops at these rows, or since there is one class only."""
    CONTRADICTION = 5
    """The same input has different labels."""
    LABEL_NAMES = 6
    """One class under two names, or classes that can hardly be learned."""
    WRONG_TEXT = 7
    """Texts that are empty, or lost characters."""
    NEAR_LEAK = 8
    """Held-out rows that share much with training rows."""
    LEFT_OUT = 9
    """Files that are not read, and what was assumed about others."""
    CLASS_SIZES = 10
    """Classes with few rows, of very different size, or with names that may be one."""
    CUT_OFF = 11
    """Texts that are longer than the model reads."""
    REPEATS = 12
    """Rows that count several times."""
    ODD_INPUT = 13
    """Inputs of an unusual kind: markup, control characters, tiny images."""
    LANGUAGE = 14
    """Texts in another script or language than most."""


SHOWN = 5
"""Places that are named; a title says how many there are."""


@dataclass(frozen=True)
class Finding:
    """Attributes:
    harm: how much it hurts.
    title: what was found, in a sentence.
    places: up to five of the places, such as "tickets.csv, row 7".
    what_to_do: in a sentence.
    rows: how many it is about; of two that hurt alike, the larger comes first.
    """

    harm: Harm
    title: str
    places: list[str]
    what_to_do: str
    rows: int = 0

    @property
    def severity(self) -> str:
        """ "problem" is to be fixed, "look" is to be looked at."""
        return "problem" if self.harm <= Harm.WRONG_TEXT else "look"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "severity": self.severity,
            "harm": self.harm.name.lower(),
            "title": self.title,
            "places": self.places,
            "what_to_do": self.what_to_do,
            "rows": self.rows,
        }

    def sentence(self) -> str:
        """For a line of text."""
        where = f" ({'; '.join(self.places)})" if self.places else ""
        return f"{self.title}{where}. {self.what_to_do}"


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        about: what the data are, in sentences.
        numbers: the same for programs, by split ("data", "validation", "test").
        findings: by harm, the worst first (`by_harm`).
    """

    about: list[str] = field(default_factory=list)
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def problems(self) -> int:
        """How many are to be mended."""
        return sum(finding.severity == "problem" for finding in self.findings)

    @property
    def summary(self) -> str:
        """Its last line: "2 problems to mend, 3 to look at"."""
        looks = len(self.findings) - self.problems
        return f"{self.problems} problem{'s' * (self.problems != 1)} to mend, {looks} to look at"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        findings = [finding.as_dict() for finding in self.findings]
        return {"about": self.about, "numbers": self.numbers, "findings": findings, "problems": self.problems}


def by_harm(findings: Sequence[Finding]) -> list[Finding]:
    """The worst first; of those that hurt alike, the one with the most rows."""
    return sorted(findings, key=lambda finding: (finding.harm, -finding.rows))


def shown(origins: Sequence[str], rows: Sequence[int]) -> list[str]:
    """The first of the places."""
    return [origins[row] for row in rows[:SHOWN]]
