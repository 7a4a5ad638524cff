"""What is wrong with data, one thing at a time: what, where, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["problem", "look"]
SHOWN = 5
"""Places that are named; a title says how many there are."""


@dataclass(frozen=True)
class Finding:
    """Attributes:
    severity: "problem" is to be mended, "look" is to be looked at.
    title: what was found, in a sentence.
    places: up to five of the places, such as "tickets.csv, row 7".
    what_to_do: in a sentence.
    """

    severity: Severity
    title: str
    places: list[str]
    what_to_do: str

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
        findings: problems first.
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
        findings = [asdict(finding) for finding in self.findings]
        return {"about": self.about, "numbers": self.numbers, "findings": findings, "problems": self.problems}


def shown(origins: Sequence[str], rows: Sequence[int]) -> list[str]:
    """The first of the places."""
    return [origins[row] for row in rows[:SHOWN]]
