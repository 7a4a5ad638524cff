"""transformers' Trainer for a fixed time: the length of its schedule is what fits, by a trial of a few steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TRIAL_STEPS = 8
_LOOKS = 10


def train_for(
    seconds: float,
    build: Callable[[], Any],
    rows: Any,
    collate: Any,
    *,
    seed: int,
    folder: Path,
    judge: Callable[[Any], float] | None = None,
    **said: Any,
) -> tuple[Any, int, list[tuple[float, float]]]:
    """Train a new model for so long.

    Args:
        seconds: of learning, with the looks.
        build: makes the model; is called for the trial and for the run.
        rows, collate: what the Trainer takes as its data set and its collator.
        seed: of all.
        folder: for what it writes.
        judge: asked of the model ten times, evenly.
        said: of `TrainingArguments`, beside what they default to.

    Returns:
        The model, its steps, and (seconds, what `judge` said) at each look.
    """
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed

    class Watch(TrainerCallback):
        """Notes the time of each step; within a time, looks ten times and stops at its end."""

        def __init__(self, seconds: float | None) -> None:
            self.seconds = seconds
            self.times: list[float] = []
            self.curve: list[tuple[float, float]] = []

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.began = time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            now = time.monotonic() - self.began
            self.times.append(now)
            if self.seconds is None:
                return
            last = now >= self.seconds or state.global_step == state.max_steps
            if judge and (last or now >= self.seconds * (len(self.curve) + 1) / _LOOKS):
                self.curve.append((round(now, 2), judge(model)))
            control.should_training_stop = last

    def train(steps: int, watch: Watch) -> Any:
        set_seed(seed)
        model = build()
        arguments = TrainingArguments(
            output_dir=str(folder / "output"),
            max_steps=steps,
            seed=seed,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **said,
        )
        Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[watch]).train()
        return model

    trial = Watch(None)
    train(_TRIAL_STEPS, trial)
    step = statistics.median(b - a for a, b in zip(trial.times, trial.times[1:], strict=False))
    watch = Watch(seconds)
    model = train(max(2, int(seconds / step)), watch)
    return model, len(watch.times), watch.curve
