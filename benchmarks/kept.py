"""Results that are kept as soon as they are there, so that the same command goes on with what is missing."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar


class Keyed(Protocol):
    """A dataclass of numbers and names."""

    @property
    def key(self) -> Hashable:
        """What it is a result of."""


R = TypeVar("R", bound=Keyed)


class Kept(Generic[R]):
    """A file with a line for each result.

    Args:
        path: of the file; it need not be there.
        kind: what a line is.
    """

    def __init__(self, path: Path, kind: type[R]) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.is_file() else []
        self.results: list[R] = [kind(**json.loads(line)) for line in lines]
        self.keys = {result.key for result in self.results}

    def __contains__(self, key: Hashable) -> bool:
        return key in self.keys

    def add(self, result: Any) -> None:
        """Write it down."""
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")
        self.results.append(result)
        self.keys.add(result.key)
