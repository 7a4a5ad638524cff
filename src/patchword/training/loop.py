"""The one training loop. Stage 1 and stage 2 differ in what they start from, and in nothing here."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import torch

from patchword.data.loader import Batch, Loader, Position
from patchword.tasks.task import Compute, Prepared, Task
from patchword.training.checkpoint import TrainState
from patchword.training.clipping import clip_gradients
from patchword.training.ema import follow, instead
from patchword.training.outcome import Outcome, reads_late
from patchword.training.recipe import Recipe
from patchword.training.schedule import pace, progress, rate
from patchword.training.tracking import Tracker
from patchword.training.tuning import learning, thaw

Watch = Callable[[int, Mapping[str, float], float], None]
"""Is told of each evaluation: its number from 1 on, its metrics, and the first of what the task compares."""


SecondsAllowed = Callable[[float], float]
"""Seconds that the last evaluation took (0 where there was none yet) -> seconds that this training may take."""


class Interrupted(Exception):
    """Ctrl-C or SIGTERM; from a stage, the message says what is saved and how to continue."""


def train(
    state: TrainState,
    data: Prepared,
    recipe: Recipe,
    compute: Compute,
    tracker: Tracker,
    checkpoints: Path | None,
    seed: int,
    stop_after: int | None = None,
    watch: Watch | None = None,
    seconds_allowed: SecondsAllowed | None = None,
    validate: bool = True,
) -> float:
    """Learn until the recipe's steps, epochs or minutes are over, or patience is.

    Args:
        state: what is learnt, and where it stands; changed as it goes.
        data: the task and its examples.
        recipe: how.
        compute: where.
        tracker: is told of each step and evaluation.
        checkpoints: folder for the last state and the best weights; None keeps neither.
        seed: fixes the order of the examples, and what is random in them.
        stop_after: act as if interrupted after this step.
        watch: is told of each evaluation; what it raises ends the run.
        seconds_allowed: how long this training may take, where the recipe counts minutes and the training is part of a
            longer command; `recipe.minutes` where not given.
        validate: evaluate on the validation rows as the recipe says; if not, the weights at the end are kept.

    Returns:
        The share of the time in which the loop waited for data.

    Raises:
        Diverged: the loss is no number any more.
        UserError: a checkpoint can not be written.
        Interrupted: Ctrl-C; a checkpoint of this step has been saved.
    """
    model, task = state.model, data.task
    clock = _Clock(state, recipe, len(data.train), seconds_allowed)
    loader = Loader(
        data.train,
        seed=seed,
        batch_tokens=recipe.batch_tokens,
        batch_size=recipe.batch_size,
        workers=int(compute.device.type != "cpu") if recipe.workers is None else recipe.workers,
        pace=lambda step, position: pace(recipe, clock.at(step, position)),
        pinned=compute.device.type == "cuda",
    )
    saved_at = time.monotonic()
    learning(model)
    late = reads_late(compute.device, state.optimizer)
    running: deque[tuple[Outcome, int]] = deque()

    def settle(but: int = 0) -> None:
        """Log what steps came to, but for so many that may still be computed."""
        while len(running) > but:
            outcome, tokens = running.popleft()
            loss = outcome.loss()
            if outcome.step % recipe.log_steps == 0:
                tracker.step(clock.progress(), clock.measure(outcome, loss, tokens))

    with _interrupts() as interrupted, closing(loader.batches(state.position, state.step)) as stream:
        for batch, after in clock.waiting(stream):
            if clock.done() or (recipe.patience is not None and state.since_best >= recipe.patience):
                break
            lr = rate(recipe, clock.progress())
            if recipe.unfreeze:
                thaw(model, clock.progress())
            outcome = step(state, task, batch, recipe, compute, lr, running[-1][0] if running else None)
            state.position, state.step, state.tokens = after, state.step + 1, state.tokens + batch.tokens
            if recipe.ema:
                follow(state.mean, model, recipe.ema, state.step)
            running.append((outcome, state.tokens))
            settle(but=int(late))
            if validate and clock.evaluation_is_due():
                settle()
                with clock.judging():
                    _evaluate(state, data, recipe, compute, tracker, checkpoints, watch)
            due = time.monotonic() - saved_at >= recipe.checkpoint_seconds or (
                recipe.checkpoint_steps is not None and state.step % recipe.checkpoint_steps == 0
            )
            if checkpoints and (due or interrupted() or state.step == stop_after):
                settle()
                clock.stop()
                state.save(checkpoints)
                saved_at = time.monotonic()
            if interrupted() or state.step == stop_after:
                settle()
                raise Interrupted
    settle()
    if not validate:
        with instead(state.mean, model):
            _keep(state, (), 1, checkpoints)
    elif state.evaluations < recipe.evaluations and clock.done():
        # A run by the clock can end between the last step and the evaluation that it was due.
        state.evaluations = recipe.evaluations
        _evaluate(state, data, recipe, compute, tracker, checkpoints, watch)
    if checkpoints:
        clock.stop()
        state.save(checkpoints)
    return clock.idle()


def step(
    state: TrainState,
    task: Task,
    batch: Batch,
    recipe: Recipe,
    compute: Compute,
    lr: float,
    before: Outcome | None = None,
) -> Outcome:
    """One optimizer step; returns what it came to, the mean loss a label.

    Each micro-batch's summed loss is divided by the labels of the *whole* batch, so that the gradient does not
    depend on how the batch is cut. Where the loss is no number, weights and optimizer stay as they were: on a device
    nobody waits for that (`reads_late`), so they stay as they were in the next step, too, until it is known.

    Args:
        before: what the last step came to, where that is not known yet.

    Raises:
        Diverged: the loss is no number any more.
    """
    total = torch.zeros((), device=compute.device)
    for part in batch.split(recipe.micro_tokens or batch.tokens):
        on_device = part.to(compute.device)
        with compute.autocast():
            loss = task.loss(state.model, on_device) / max(batch.labels, 1)
        loss.backward()
        total += loss.detach()
    norm = clip_gradients(state.model.parameters(), recipe.clip)
    outcome = Outcome(state.step + 1, total, norm, lr, recipe.lr)
    if reads_late(compute.device, state.optimizer):
        vars(state.optimizer)["found_inf"] = outcome.broken(before)
    else:
        outcome.loss()
    for group in state.optimizer.param_groups:
        group["lr"] = lr * group.get("factor", 1.0)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)
    return outcome


def _evaluate(
    state: TrainState,
    data: Prepared,
    recipe: Recipe,
    compute: Compute,
    tracker: Tracker,
    checkpoints: Path | None,
    watch: Watch | None,
) -> None:
    before, task = state.best, data.task
    with instead(state.mean, state.model):
        metrics = task.evaluate(state.model, data.validation, compute)
        if recipe.average and checkpoints and before is not None:
            # The greedy soup of Wortsman et al. 2022, algorithm 1, in the order of time: one mean is all that is kept.
            with state.averaged_with_best(checkpoints):
                mean = task.evaluate(state.model, data.validation, compute)
                if task.better(mean) > max(task.better(metrics), before):
                    metrics = mean | {"averaged": state.averaged + 1}
                    _keep(state, task.better(mean), state.averaged + 1, checkpoints)
        if state.best is None or recipe.keep == "last" or task.better(metrics) > state.best:
            _keep(state, task.better(metrics), 1, checkpoints)
    best = recipe.keep == "best" and state.best != before
    state.since_best = 0 if best else state.since_best + 1
    tracker.evaluation(state.step, metrics, best)
    if watch:
        watch(state.evaluations, metrics, task.better(metrics)[0])
    learning(state.model)


def _keep(state: TrainState, score: tuple[float, ...], averaged: int, checkpoints: Path | None) -> None:
    """The weights as they are now are the best so far."""
    state.best, state.best_step, state.averaged = score, state.step, averaged
    if checkpoints:
        state.save_best(checkpoints)


JUDGING = 0.1
"""The share of a run by the clock that may go into evaluations before the last."""


class _Clock:
    """How far the run is, in its own measure."""

    def __init__(
        self, state: TrainState, recipe: Recipe, examples: int, seconds_allowed: SecondsAllowed | None = None
    ) -> None:
        self.state, self.recipe, self.examples = state, recipe, examples
        self.seconds_allowed = seconds_allowed
        self.before = state.seconds
        self.began = self.last = time.monotonic()
        self.tokens = state.tokens
        self.waited = self.waited_before = 0.0
        self.judged = self.judged_last = 0.0

    def waiting(self, stream: Iterator[tuple[Batch, Position]]) -> Iterator[tuple[Batch, Position]]:
        """The same batches; the time until each is there is noted."""
        while True:
            began = time.monotonic()
            item = next(stream)
            self.waited += time.monotonic() - began
            yield item

    def idle(self) -> float:
        """Share of the time so far in which the loop waited for data."""
        return self.waited / max(time.monotonic() - self.began, 1e-9)

    def stop(self) -> None:
        """Put the time so far into the state."""
        self.state.seconds = self.before + time.monotonic() - self.began

    def progress(self) -> float:
        return self.at(self.state.step, self.state.position)

    def at(self, step: int, position: Position) -> float:
        """How far the run is when so many steps are made and the data stand there; by time: how far it is now."""
        return progress(
            self.recipe,
            step=step,
            epoch=position.epoch + position.index / self.examples,
            seconds=self.before + time.monotonic() - self.began,
            seconds_allowed=None if self.seconds_allowed is None else self.seconds_allowed(self.judged_last),
        )

    def done(self) -> bool:
        return self.progress() >= 1.0

    def evaluation_is_due(self) -> bool:
        """When another part of the run is over; the end of the run is the last.

        A run by the clock leaves out those with which more than `JUDGING` of its time would go into evaluations.
        """
        due = int(self.progress() * self.recipe.evaluations + 1e-9)
        if due <= self.state.evaluations:
            return False
        self.state.evaluations = due
        passed = self.before + time.monotonic() - self.began
        return self.recipe.minutes is None or self.done() or self.judged + self.judged_last <= JUDGING * passed

    @contextmanager
    def judging(self) -> Iterator[None]:
        """Around an evaluation: its time is noted."""
        began = time.monotonic()
        yield
        self.judged_last = time.monotonic() - began
        self.judged += self.judged_last

    def measure(self, outcome: Outcome, loss: float, tokens: int) -> dict[str, float]:
        """The line of a step after which so many tokens had been seen."""
        now = time.monotonic()
        passed = max(now - self.last, 1e-9)
        speed, idle = (tokens - self.tokens) / passed, (self.waited - self.waited_before) / passed
        self.last, self.tokens, self.waited_before = now, tokens, self.waited
        return {
            "step": outcome.step,
            "loss": loss,
            "lr": outcome.lr,
            "tokens": tokens,
            "seconds": round(self.before + now - self.began, 3),
            "tokens_per_second": round(speed, 1),
            "idle": round(idle, 4),
        }


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Ctrl-C is noted, and acted on after the step; a second one is an ordinary KeyboardInterrupt."""
    noted = False
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, frame: object) -> None:
        nonlocal noted
        if noted:
            raise KeyboardInterrupt
        noted = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
