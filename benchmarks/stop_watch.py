"""What is measured of a training run, step by step; the same for every contender."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.machine import peak_memory
from benchmarks.race import since_began


class StopWatch:
    """Looks at the clock after each optimizer step.

    Args:
        warm_up: steps before the timed ones, at least 1.
        least: timed steps at least.
        seconds: no timed step begins after so many, where there are enough of them.
    """

    def __init__(self, warm_up: int, least: int, seconds: float) -> None:
        self.warm_up, self.least, self.seconds = warm_up, least, seconds
        self.steps = self.amount = 0
        self.began = self.ended = self.first = 0.0

    def step(self, amount: int) -> bool:
        """After a step that learnt from so much; returns whether that was the last one."""
        self.ended = time.perf_counter()
        self.steps += 1
        if self.steps == 1:
            self.first = since_began()
        if self.steps <= self.warm_up:
            self.began = self.ended
            return False
        self.amount += amount
        return self.steps >= self.warm_up + self.least and self.ended - self.began >= self.seconds

    def figures(self, unit: str) -> dict[str, Any]:
        """Speed in `unit` a second, timed steps, peak memory in bytes, seconds until the first step was done."""
        return {
            f"{unit}_per_second": self.amount / (self.ended - self.began),
            "steps": self.steps - self.warm_up,
            "memory": peak_memory(),
            "first_step": self.first,
        }
