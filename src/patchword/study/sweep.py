"""Which settings fine-tune best: the default recipe first, then others that a search chooses (Optuna).

The search is a Tree-structured Parzen Estimator (Bergstra et al. 2011) with the median stopping rule (Golovin et al.
2017): a run whose validation score lies below the median of the others' at the same part of the run is ended. What is
tried next depends on the seed and on the trials before alone, so a sweep that was stopped goes on as if it had not.

study.db    all trials, an Optuna study
baselines.json   scores of the baselines, which all trials share
trials/N    the run of each trial, without weights
best        the best trial's run, a model folder
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from patchword.data.files import Data
from patchword.data.outputs import refuse_output_over_inputs
from patchword.errors import UserError
from patchword.study.space import Space
from patchword.study.trial import Trial, ended, make, repeat_killed
from patchword.training.loop import Interrupted
from patchword.training.run import BASELINES, RunConfig, check_settings
from patchword.training.run_files import LOCK, NEW, STUDY, alone_in, commit, recover, remove_new
from patchword.training.stages import finetune, finetune_settings
from patchword.training.tracking import console

if TYPE_CHECKING:
    import optuna

STARTUP = 6
"""Trials at random, before the search learns from them; the default is one of them."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep has found.

    Args:
        folder: of the sweep.
        trials: in the order in which they were made.
        best: of the trials that came to their end; the earlier of equals.
        command: trains with the best settings.
    """

    folder: Path
    trials: tuple[Trial, ...]
    best: Trial
    command: str

    @property
    def default(self) -> Trial:
        """The trial with the default recipe."""
        return self.trials[0]


def sweep(
    start: str | Path,
    data: Data,
    *,
    out: str | Path,
    trials: int = 20,
    minutes: float | None = None,
    task: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Sweep:
    """Fine-tune with many settings, and tell which are best in validation.

    The learning rate, the epochs, what learns, the batch size, dropout and the decay of the rate over the layers are
    searched, but for those that are given. The same call goes on with a sweep that was stopped, or adds trials to it.

    Args:
        start, data, task: as in `finetune`.
        out: folder of the sweep; `best` in it is the best trial's model folder.
        trials: how many, the default recipe included.
        minutes: wall time of the sweep; a trial begins only if there is time for one as long as the longest.
        seed: of the search, and of every trial: all learn from the same rows, and none from those held back.
        overwrite: replace another sweep in `out`, once the first trial of the new one has ended.
        quiet: tell nothing.
        settings: as in `finetune`, but for `seeds` (each trial is one run) and `test` (it is for the chosen settings).

    Raises:
        UserError: something can not be used as it is; the message says what, where, and what to do.
        Interrupted: Ctrl-C; the trial is made again when the sweep goes on.
    """
    for name, why in (
        ("test", "is looked at once, with the settings chosen"),
        ("seeds", "would be chance, told twice"),
    ):
        if settings.get(name) is not None:
            raise UserError(f"{name}: not in a sweep; it {why}. Give it to `patchword finetune` afterwards.")
    if trials < 1:
        raise UserError(f"--trials {trials}: a sweep has at least one trial, the default.")
    settings = {name: value for name, value in settings.items() if value is not None}
    check_settings(settings | {"seed": seed, "minutes": minutes})
    inputs = {"the data": data, "--validation": settings.get("validation")}

    def search(place: Path, trials: int) -> list[Trial]:
        study, first = _study(place, run)
        common = settings | {"task": first.task, "seed": seed, "seeds": 1, "precision": first.recipe.precision}
        one = partial(finetune, start, data, baselines=place / BASELINES, **common)
        _search(study, Space.around(first, settings), place, trials, minutes, one, seed, quiet)
        return ended(study)

    folder = Path(out)
    with _claimed(folder), _quiet_optuna():
        refuse_output_over_inputs(out, inputs | {"the base checkpoint": start}, folder=True, read_whole=inputs)
        run = finetune_settings(start, data, task, seeds=1, seed=seed, **settings)
        if overwrite and (folder / STUDY).is_file():
            remove_new(folder)
            (folder / NEW).mkdir()
            _done(search(folder / NEW, 1))
            commit(folder)
        made = tuple(search(folder, trials))
    done = _done(made)
    best = max(done, key=lambda trial: trial.score or 0.0)
    told = settings | {"task": task, "seed": seed or None} | dict(best.settings)
    return Sweep(folder, made, best, _command(start, data, told))


def _done(made: Sequence[Trial]) -> list[Trial]:
    """The trials that came to their end.

    Raises:
        UserError: none did.
    """
    done = [trial for trial in made if trial.outcome == "done"]
    if not done:
        raise UserError(f"No trial came to its end: {made[-1].problem}" if made else "There was no time for a trial.")
    return done


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """The folder of the sweep, locked as long as this lasts."""
    with alone_in(folder, f"Another sweep is running in {folder} at this moment. Choose another --out."):
        recover(folder)
        if not (folder / STUDY).is_file() and any(path.name not in (LOCK, NEW) for path in folder.iterdir()):
            raise UserError(f"{folder} is not empty, and holds no sweep. Choose another --out.")
        yield


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _study(folder: Path, run: RunConfig) -> tuple[optuna.Study, RunConfig]:
    """The study in the folder, and the settings that it began with; trials that a kill cut short wait again."""
    import optuna

    study = optuna.create_study(
        storage=f"sqlite:///{(folder / STUDY).absolute()}",
        study_name="sweep",
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
    )
    if "run" not in study.user_attrs:
        study.set_user_attr("run", run.model_dump(mode="json"))
    first = RunConfig(**study.user_attrs["run"])
    # Which precision is fast is measured each time, and a busy machine can say otherwise.
    again = run.model_copy(update={"recipe": run.recipe.model_copy(update={"precision": first.recipe.precision})})
    if again != first:
        before, now = first.model_dump(), again.model_dump()
        names = ", ".join(name for name in before if before[name] != now[name])
        raise UserError(
            f"{folder} holds a sweep that began otherwise ({names}), and its scores do not compare with others. "
            "Choose another --out, or replace it with --overwrite."
        )
    repeat_killed(study, folder)
    return study, first


def _search(
    study: optuna.Study,
    space: Space,
    folder: Path,
    trials: int,
    minutes: float | None,
    run: Callable[..., Any],
    seed: int,
    quiet: bool,
) -> None:
    """Make trials until there are enough."""
    import optuna

    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(dict(space.default))
    began = time.monotonic()
    longest = 0.0
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
    )
    line = bar.add_task("trials", total=trials, told="")
    with bar:
        while (count := len(ended(study))) < trials:
            if minutes is not None and time.monotonic() - began + longest > minutes * 60:
                break
            trial_began = time.monotonic()

            def progress(evaluation: int, count: int = count) -> None:
                part = evaluation / (space.recipe.evaluations + 1)
                bar.update(line, completed=count + part, told=f"{count} of {trials}")

            progress(0)
            # A sampler of its own for each trial: what it draws does not depend on where the sweep was stopped.
            study.sampler = optuna.samplers.TPESampler(seed=seed + count, n_startup_trials=STARTUP)
            trial = study.ask(dict(space.distributions))
            try:
                make(study, trial, folder, run, space.settings(trial.params), progress)
            except Interrupted:
                if not quiet:
                    bar.console.print(f"Stopped in trial {trial.number}. The same command goes on, and makes it again.")
                raise
            longest = max(longest, time.monotonic() - trial_began)
            if not quiet:
                bar.console.print(_sentence(ended(study)[-1]), soft_wrap=True)
        bar.update(line, completed=count, told=f"{count} of {trials}")


def _sentence(trial: Trial) -> str:
    reached = f"{trial.metric} {trial.metrics[trial.metric]:.4f}" if trial.metric else "no evaluation"
    told = {"done": reached, "pruned": f"ended early, {reached}", "failed": f"failed: {trial.problem}"}
    return f"trial {trial.number}, {trial.told or 'the default'}: {told[trial.outcome]}  ({trial.seconds:.0f} s)"


def _command(start: str | Path, data: Data, settings: Mapping[str, Any]) -> str:
    """`patchword finetune` with settings, to be typed."""
    words = ["patchword", "finetune", str(start), *map(str, [data] if isinstance(data, str | Path) else data)]
    usual = {name: field.default for name, field in RunConfig.model_fields.items()}
    for name, value in settings.items():
        if value is None or value == usual.get(name):
            continue
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value is not False:
            for item in [value] if isinstance(value, str | Path | int | float) else value:
                words += [option, str(item)]
    return shlex.join([*words, "--out", "runs/tuned"])
