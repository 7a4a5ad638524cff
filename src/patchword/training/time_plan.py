"""How long a command takes: measured before it starts, and kept within `--minutes`.

A command with `--minutes` ends within that wall time: reading the data, baselines, every seed, evaluations and the
report count. What comes after the training is estimated and set aside; the estimate is replaced by what evaluations
are seen to take.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import numpy as np

from patchword.data.loader import Examples, Loader, Position
from patchword.tasks.task import Compute, Prepared
from patchword.training.checkpoint import TrainState
from patchword.training.loop import JUDGING, step
from patchword.training.recipe import Recipe
from patchword.training.run import RunConfig
from patchword.training.tracking import duration

_FORWARD = 1 / 3
"""Time of a forward pass, as a share of a training step: the backward pass costs about twice as much."""
_DISK = 2e8
"""Bytes per second that writing a model takes, flushing and hashing included; measured on a slow disk."""
LEAST_STEPS = 10
"""Steps of a seed for which there is always time, however short the budget is."""
_FIXED = 2.0
"""Seconds at the end that depend on nothing: loading matplotlib, the plots, the model card."""


@dataclass(frozen=True)
class StepTime:
    """What a training step takes on this machine.

    Args:
        seconds: the fastest of the measured steps, the first one left out.
        tokens, examples: in a batch, on average.
    """

    seconds: float
    tokens: float
    examples: float


def time_steps(
    state: TrainState, data: Prepared, recipe: Recipe, compute: Compute, seed: int, steps: int = 4, seconds: float = 4.0
) -> StepTime:
    """Run a few training steps with a learning rate of 0.

    Args:
        state: of a model that is thrown away afterwards.
        data: the task and its examples.
        recipe: of the run.
        compute: where the run will be.
        seed: of the run.
        steps: at most; never fewer than two.
        seconds: after which no further step begins.
    """
    state.model.train()
    loader = Loader(data.train, seed=seed, batch_tokens=recipe.batch_tokens, batch_size=recipe.batch_size)
    times: list[float] = []
    tokens: list[int] = []
    began = time.perf_counter()
    with closing(loader.batches(Position())) as batches:
        for batch, position in islice(batches, steps):
            begin = time.perf_counter()
            step(state, data.task, batch, recipe, compute, 0.0).loss()
            times.append(time.perf_counter() - begin)
            tokens.append(batch.tokens)
            read = position.epoch * len(data.train) + position.index
            if len(times) > 1 and time.perf_counter() - began > seconds:
                break
    return StepTime(min(times[1:]), sum(tokens) / len(tokens), read / len(times))


@dataclass
class TimePlan:
    """What a run will take, and how much of its budget each seed gets.

    Args:
        recipe: of the run.
        step: of a training step.
        rows: training examples.
        evaluation_seconds: of one evaluation on the validation part; replaced by what evaluations are seen to take.
        test_share: rows of the test part, as a share of those of the validation part.
        save_seconds: of writing the weights once.
        deadline: when the command has to end, in the time of `time.monotonic`; None where steps or epochs count.
        seeds: how many models are trained.
        folds: of a cross-validation, each of which is one of them; 0 where there is none.
        baseline_seconds: until the training begins.
    """

    recipe: Recipe
    step: StepTime
    rows: int
    evaluation_seconds: float
    test_share: float
    save_seconds: float
    deadline: float | None
    seeds: int = 1
    folds: int = 0
    baseline_seconds: float = 0.0

    @classmethod
    def of(cls, run: RunConfig, prepared: Prepared, step: StepTime, numbers: int, deadline: float | None) -> TimePlan:
        """The plan of a run whose model has so many parameters (`numbers`)."""
        folds = run.seeds if run.cross_validated else 0
        tokens = _tokens(prepared.validation) / max(folds, 1)  # a fold is evaluated on its own rows alone
        return cls(
            recipe=run.recipe,
            step=step,
            rows=len(prepared.train) * (folds - 1) // folds if folds else len(prepared.train),
            evaluation_seconds=tokens * step.seconds / step.tokens * _FORWARD,
            test_share=0.0 if prepared.test is None else _tokens(prepared.test) / max(tokens, 1),
            save_seconds=4 * numbers / _DISK,
            deadline=deadline,
            seeds=run.runs,
            folds=folds,
        )

    def reading_seconds(self, prepared: Prepared, cross_validated: bool) -> float:
        """One forward pass over all rows, for the baselines on frozen vectors."""
        parts = [prepared.train, *([] if cross_validated else [prepared.validation])]
        if prepared.test is not None:
            parts.append(prepared.test)
        tokens = sum(map(_tokens, parts))
        return tokens * self.step.seconds / self.step.tokens * _FORWARD

    def steps(self, length: Recipe | None = None) -> float:
        """Steps of one seed that is trained as long as a recipe says; infinite where it counts minutes."""
        recipe = length or self.recipe
        if recipe.steps is not None:
            return recipe.steps
        if recipe.epochs is not None:
            return max(1.0, recipe.epochs * self.rows / self.step.examples)
        return math.inf

    def seed_seconds(self, length: Recipe) -> float:
        """One seed that is trained as long as a recipe says, with its evaluations."""
        evaluations = min(length.evaluations, self.steps(length)) * (2 if length.average else 1)
        return self.steps(length) * self.step.seconds + evaluations * self.evaluation_seconds + 2 * self.save_seconds

    def after_seed(self, seeds: int) -> float:
        """Seconds after the last step of a seed: its last evaluation, and its scores where there are several."""
        again = 1.0 + self.test_share if seeds > 1 else 0.0
        return (1.0 + self.recipe.average + again) * self.evaluation_seconds + 2 * self.save_seconds

    def after_seeds(self, seeds: int) -> float:
        """Seconds after all seeds: averages of their weights, calibration, the scores of the report, the files."""
        return (seeds + 1 + self.test_share) * self.evaluation_seconds + self.save_seconds + _FIXED + 0.3 * seeds

    def fit_seeds(self, most: int, length: Recipe) -> None:
        """Train as many seeds as have time for the default length of a training; one at least.

        Args:
            most: seeds at most.
            length: a recipe with the default length.
        """
        assert self.deadline is not None
        left = self.deadline - time.monotonic() - self.baseline_seconds
        fitting = [
            seeds
            for seeds in range(2, most + 1)
            if seeds * (self.seed_seconds(length) + self.after_seed(seeds)) + self.after_seeds(seeds) <= left
        ]
        self.seeds = max(fitting, default=1)

    def seconds_allowed(self, seeds_left: int, before: float) -> Callable[[float], float]:
        """How long the seed that begins now may train, for `loop.train`.

        Args:
            seeds_left: this one included.
            before: seconds that this seed has trained already, in a run that is resumed.
        """
        assert self.deadline is not None
        deadline, began = self.deadline, time.monotonic()

        def allowed(measured: float) -> float:
            if measured:
                self.evaluation_seconds = measured / (2 if self.recipe.average else 1)
            reserved = seeds_left * self.after_seed(self.seeds) + self.after_seeds(self.seeds)
            left = deadline - reserved - self.baseline_seconds - began
            return before + max(left / seeds_left, LEAST_STEPS * self.step.seconds)

        return allowed

    def seconds_left(self, seed: int, progress: float, seconds: float) -> float:
        """Seconds until the command has ended.

        Args:
            seed: which is trained, from 0 on.
            progress: of it, in [0, 1].
            seconds: that it has been trained for.
        """
        if self.deadline is not None:
            return self.deadline - time.monotonic()
        whole = seconds / progress if progress > 0.02 else max(self.seed_seconds(self.recipe), seconds)
        later = (self.seeds - seed - 1) * whole
        return (
            whole - seconds + later + (self.seeds - seed) * self.after_seed(self.seeds) + self.after_seeds(self.seeds)
        )

    def total(self, seeds: int) -> float:
        """Seconds from now on with so many seeds."""
        if self.deadline is not None:
            return self.deadline - time.monotonic()
        training = seeds * (self.seed_seconds(self.recipe) + self.after_seed(seeds)) + self.after_seeds(seeds)
        return self.baseline_seconds + training

    def sentence(self) -> str:
        """The plan, for the person who has to wait for it."""
        if self.deadline is not None:
            allowed = self.seconds_allowed(self.seeds, 0.0)(0.0)
            evaluating = min(self.recipe.evaluations * self.evaluation_seconds, JUDGING * allowed)
            steps = max((allowed - evaluating) / self.step.seconds, LEAST_STEPS)
            whole = f"{duration(self.total(self.seeds))} left of {duration(60 * (self.recipe.minutes or 0))}"
        else:
            steps = self.steps()
            whole = f"about {duration(self.total(self.seeds))}"
        kind = f"runs ({self.folds}-fold cross-validation, then all rows)" if self.folds else "seeds"
        several = f"{self.seeds} {kind} of about {steps:,.0f} steps" if self.seeds > 1 else f"about {steps:,.0f} steps"
        told = f"Plan: {several}, {self.step.seconds:.2g} s per step; {whole}, evaluation included"
        if self.deadline is not None and steps <= LEAST_STEPS:
            told += ". The time budget is too short for more"
        if self.seeds > 1 and self.deadline is None:
            told += f" (--seeds 1: about {duration(self.total(1))})"
        return told + "."


def _tokens(examples: Examples) -> int:
    """Tokens of all examples."""
    return int(examples.lengths(np.arange(len(examples))).sum())
