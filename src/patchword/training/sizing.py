"""`--model auto`: which size of model, in batches of which size, ends with the lowest loss in a given time.

    loss = E + A / N^0.34 + B / D^0.28            (Hoffmann et al. 2022, equation 2 and section D.3)

N is the numbers in a model's layers, D the tokens that it reads in the time. How fast this machine reads them is
measured here, on the corpus itself; the constants are of one grid of runs (`python -m benchmarks.sizes`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from patchword.errors import UserError
from patchword.tasks.precision import choose_precision
from patchword.tasks.task import Compute, Prepared, Reader, choose_device
from patchword.training.checkpoint import TrainState, seed_everything
from patchword.training.matrices import matrices
from patchword.training.memory import keep_freed_memory
from patchword.training.optimizer import make_optimizer
from patchword.training.prepare import ask_for, config_for, family_of, model_for, prepare, reader_for
from patchword.training.run import RunConfig, RunFolder
from patchword.training.time_plan import LEAST_STEPS, time_steps
from patchword.training.tracking import said, working

AUTO = "auto"

LEARNING = 0.9
"""The share of a run's time in which it makes steps; the rest goes into evaluations and checkpoints."""
_BATCH = 2048


@dataclass(frozen=True)
class Law:
    """What a loss comes to; the powers are those of Hoffmann et al. 2022 (section D.3, approach 3).

    Args:
        floor: E, of the data itself.
        size, data: A and B.
        spread: deviation of runs from it, as a share of their loss.
    """

    size_power: ClassVar[float] = 0.34
    data_power: ClassVar[float] = 0.28

    floor: float
    size: float
    data: float
    spread: float

    def loss(self, numbers: float, tokens: float) -> float:
        """Nats a hidden word after so many tokens, in a model with so many numbers in its layers."""
        return self.floor + self.size / numbers**self.size_power + self.data / tokens**self.data_power


@dataclass(frozen=True)
class Ladder:
    """What there is to choose from.

    Args:
        presets: from the smallest to the largest.
        law: of them; another corpus has another floor, for all sizes.
    """

    presets: tuple[str, ...]
    law: Law


LADDERS = {
    "masked-lm": Ladder(
        ("patchword-tiny", "patchword-mini", "patchword-small", "patchword-base"),
        Law(floor=1.54, size=33.7, data=169.0, spread=0.016),  # 11 runs of 40 to 300 seconds on two corpora
    ),
    "causal-lm": Ladder(
        ("patchword-decoder-tiny", "patchword-decoder-mini", "patchword-decoder-small", "patchword-decoder-base"),
        # 3 runs of 60 and 180 seconds; from 2 others, too short to be fitted, it is 1.4 and 2.3 % off.
        Law(floor=3.0, size=41.2, data=94.6, spread=0.02),
    ),
}
"""By task."""


def ladder(task: str | None) -> Ladder:
    """The sizes of a task; of masked words where none is asked for.

    Raises:
        UserError: there are none for it.
    """
    name = (task or "masked-lm").replace("_", "-")
    if name not in LADDERS:
        raise UserError(f"--model {AUTO} chooses for {' and '.join(LADDERS)}, not for {name}. Name a preset.")
    return LADDERS[name]


@dataclass(frozen=True)
class Size:
    """One size on this machine.

    Args:
        preset: its name.
        numbers: in its layers.
        batch_tokens: tokens of a step.
        seconds: that a step takes.
        tokens: that it reads in the time.
        loss: that the law expects.
    """

    preset: str
    numbers: int
    batch_tokens: int
    seconds: float
    tokens: float
    loss: float


def worth(tokens: float, unique: float) -> float:
    """How many fresh tokens are worth as much as so many of which only `unique` are different.

    Muennighoff et al. 2023, equation 5: what is read again is worth less each time, by the number of passes over 15.4.
    """
    if tokens <= unique:
        return tokens
    again = tokens / unique - 1
    return unique * (1 + 15.4 * (1 - math.exp(-again / 15.4)))


def batch_for(tokens: float) -> int:
    """Tokens of a batch where so many are read in all: a power of 2, from 512 to 65,536.

    It grows with the root of the run's length (with the data, and not with the size of the model: Zhang et al. 2025).
    Of 1,024, 2,048 and 4,096 tokens, 2,048 were the best for patchword-mini in a run of 400,000 (6.31, 6.17, 6.29).
    """
    wanted = 2048 * math.sqrt(tokens / 4e5)
    return int(2 ** round(math.log2(min(max(wanted, 512), 65536))))


def choose(run: Callable[[str, int], RunConfig], sizes: Ladder, out: RunFolder, quiet: bool, began: float) -> RunConfig:
    """The settings of the run that is expected to end with the lowest loss.

    The vocabulary is learnt and the text is tokenised on the way; both are kept for the run itself.

    Args:
        run: (preset, tokens of a batch) -> complete settings of a run with it, for so many minutes.
        sizes: to choose from.
        out: where the run will write; nothing is written there.
        quiet: tell nothing.
        began: when the command began, in the time of `time.monotonic`.
    """
    say = said(quiet)
    settings = run(sizes.presets[0], _BATCH)
    minutes = settings.recipe.minutes
    assert minutes is not None
    deadline = began + 60 * minutes
    reader = reader_for(settings, out, False, quiet)
    prepared = prepare(settings, ask_for(settings), reader, family_of(settings)[0], quiet)
    with working("Measuring how fast each model size trains here ...", quiet) as activity:

        def measured(name: str, tokens: int) -> Size:
            activity.update(f"Measuring how fast {name} trains here, in batches of {tokens:,} tokens ...")
            return measure(run(name, tokens), sizes.law, reader, prepared, deadline)

        found = list(climb(measured, sizes))
    best = min(found, key=lambda size: size.loss)
    read = float(f"{best.tokens:.2g}")
    others = ", ".join(f"{size.preset} {size.loss / best.loss - 1:.0%}" for size in found if size is not best)
    say(
        f"Chosen: {best.preset}, in batches of {best.batch_tokens:,} tokens. A step takes {best.seconds:.2g} s here: "
        f"it reads about {read:,.0f} tokens in {minutes:g} minutes. Losses expected to end higher, give or take "
        f"{sizes.law.spread:.0%}: {others}."
    )
    return run(best.preset, best.batch_tokens)


def climb(measured: Callable[[str, int], Size], sizes: Ladder) -> Iterator[Size]:
    """The sizes from the smallest on, until one is expected to be clearly worse than the best.

    Args:
        measured: (preset, tokens of a batch) -> what that comes to here.
        sizes: to choose from.
    """
    best, batch_tokens = math.inf, _BATCH
    for name in sizes.presets:
        size = measured(name, batch_tokens)
        if batch_for(size.tokens) != batch_tokens:
            batch_tokens = batch_for(size.tokens)
            size = measured(name, batch_tokens)
        yield size
        best = min(best, size.loss)
        if size.loss > best * (1 + 2 * sizes.law.spread):
            return


def measure(run: RunConfig, law: Law, reader: Reader, prepared: Prepared, deadline: float) -> Size:
    """A few steps of a model with random weights, as its run would make them.

    Args:
        run: complete settings.
        law: what a loss comes to.
        reader, prepared: of the corpus.
        deadline: when the command has to end, in the time of `time.monotonic`.
    """
    device = choose_device(run.device)
    _, autocast = choose_precision(run.recipe.precision, device)
    seed_everything(run.seed)
    keep_freed_memory()
    family, config = config_for(run, reader)
    model, _ = model_for(run, family, config, prepared.task, reader, device, lambda text: None)
    state = TrainState(model, make_optimizer(model, run.recipe))
    step = time_steps(state, prepared, run.recipe, Compute(device, autocast), run.seed)
    read = LEARNING * max((deadline - time.monotonic()) / step.seconds, LEAST_STEPS) * step.tokens
    numbers = sum(parameter.numel() for parameter in matrices(model))
    fresh = worth(read, prepared.facts["tokens"])
    return Size(run.start, numbers, run.recipe.batch_tokens, step.seconds, read, law.loss(numbers, fresh))
