"""One thing that is wrong with data: what, where, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """Attributes:
    severity: "problem" is to be mended, "look" is to be looked at.
    title: what was found, in a sentence.
    places: up to five of the places, such as "tickets.csv, row 7".
    what_to_do: in a sentence.
    """

    severity: Literal["problem", "look"]
    title: str
    places: list[str]
    what_to_do: str

    def sentence(self) -> str:
        return f"{self.title} ({'; '.join(self.places)}). {self.what_to_do}"
