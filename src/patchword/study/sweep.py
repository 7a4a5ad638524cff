"""Which settings fine-tune best: the default recipe first, then others that a search chooses (Optuna).

The search is a Tree-structured Parzen Estimator (Bergstra et al. 2011) with the median stopping rule (Golovin et al.
2017): a run whose validation score lies below the median of the others' at the same part of the run is ended. What is
tried next depends on the seed and on the trials before alone, so a sweep that was stopped goes on as if it had not.

study.db    all trials, an Optuna study
trials/N    the run of each trial, without weights
best        the best trial's run, a model folder
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from filelock import FileLock, Timeout
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from patchword.data.files import Data
from patchword.errors import UserError
from patchword.study.space import Space
from patchword.training.loop import Diverged, Interrupted
from patchword.training.run import RunConfig
from patchword.training.stages import finetune, finetune_settings
from patchword.training.tracking import console

if TYPE_CHECKING:
    import optuna

STUDY = "study.db"
STARTUP = 6
"""Trials at random, before the search learns from them; the default is one of them."""


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Args:
        number: of its folder; 0 is the default recipe.
        settings: of `finetune`, as far as they are not the default.
        outcome: "done", "pruned" (ended early), or "failed".
        metrics: of its best evaluation.
        score: the first number by which the task compares; higher is better. None before the first evaluation.
        seconds: that it took.
        problem: why it failed.
    """

    number: int
    settings: Mapping[str, Any]
    outcome: str
    metrics: Mapping[str, float]
    score: float | None
    seconds: float
    problem: str | None


@dataclass(frozen=True)
class Sweep:
    """What a sweep has found.

    Args:
        folder: of the sweep.
        metric: name of the metric that decides.
        trials: in the order in which they were made.
        command: trains with the best settings.
    """

    folder: Path
    metric: str
    trials: tuple[Trial, ...]
    command: str

    @property
    def default(self) -> Trial:
        """The trial with the default recipe."""
        return self.trials[0]

    @property
    def best(self) -> Trial:
        """The best of the trials that came to their end; the earlier of equals."""
        return max((trial for trial in self.trials if trial.outcome == "done"), key=lambda trial: trial.score or 0.0)


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
        minutes: no trial begins later than so long after the call.
        seed: of the search, and of every trial: all learn from the same rows, and none from those held back.
        overwrite: begin anew where `out` holds another sweep.
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
    run = finetune_settings(start, data, task, seeds=1, seed=seed, **settings)
    folder = Path(out)
    _check(folder, overwrite)
    try:
        with FileLock(folder / "lock", timeout=0), _quiet_optuna():
            if overwrite:
                _clear(folder)
            study, run = _study(folder, run)
            how = settings | {"task": run.task, "seed": seed, "precision": run.recipe.precision}
            _search(study, Space.around(run, settings), folder, trials, minutes, quiet, (start, data, how))
            told = settings | {"task": task, "seed": seed or None}
            return _result(study, folder, (start, data, told))
    except Timeout as error:
        raise UserError(f"Another sweep is running in {out} at this moment. Choose another --out.") from error


Asked = tuple[str | Path, Data, dict[str, Any]]
"""Start, data and settings that all trials have in common."""


def _check(folder: Path, overwrite: bool) -> None:
    if folder.is_file():
        raise UserError(f"{folder} is a file; --out names a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / STUDY).is_file():
        raise UserError(f"{folder} is not empty, and holds no sweep. Choose another --out.")
    folder.mkdir(parents=True, exist_ok=True)


def _clear(folder: Path) -> None:
    (folder / STUDY).unlink(missing_ok=True)
    for name in ("trials", "best"):
        shutil.rmtree(folder / name, ignore_errors=True)


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
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)
    return study, first


def _ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that are told of: not those that wait, and not those that were killed and made again."""
    return [trial for trial in study.get_trials(deepcopy=False) if "outcome" in trial.user_attrs]


def _search(
    study: optuna.Study,
    space: Space,
    folder: Path,
    trials: int,
    minutes: float | None,
    quiet: bool,
    asked: Asked,
) -> None:
    import optuna

    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(dict(space.default))
    began = time.monotonic()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        console=console,
        disable=quiet or not console.is_terminal,
    )
    line = bar.add_task("trials", total=trials, told="")
    with bar:
        while (count := len(_ended(study))) < trials:
            if minutes is not None and time.monotonic() - began > minutes * 60:
                break
            bar.update(line, completed=count)
            # A sampler of its own for each trial: what it draws does not depend on where the sweep was stopped.
            study.sampler = optuna.samplers.TPESampler(seed=asked[2]["seed"] + count, n_startup_trials=STARTUP)
            trial = study.ask(dict(space.distributions))
            try:
                _try(study, trial, space.settings(trial.params), folder, asked)
            except Interrupted:
                if not quiet:
                    bar.console.print(f"Stopped in trial {trial.number}. The same command goes on with it.")
                raise
            made = _told(_ended(study)[-1])
            if not quiet:
                bar.console.print(sentence(made), markup=False)
            bar.update(line, completed=count + 1)


def _try(study: optuna.Study, trial: optuna.Trial, settings: Mapping[str, Any], folder: Path, asked: Asked) -> None:
    """One trial to its end, and what came out of it into the study."""
    import optuna

    start, data, common = asked
    place = folder / "trials" / str(trial.number)
    seen: list[tuple[float, dict[str, float]]] = []
    problem = None

    def watch(number: int, metrics: Mapping[str, float], score: float) -> None:
        if not math.isfinite(score):
            raise Diverged("The score in validation is no number.")
        seen.append((score, dict(metrics)))
        trial.report(score, number)
        if trial.should_prune():
            raise optuna.TrialPruned

    began = time.monotonic()
    try:
        finetune(start, data, out=place, seeds=1, quiet=True, overwrite=True, watch=watch, **common | dict(settings))
        state = optuna.trial.TrialState.COMPLETE
    except optuna.TrialPruned:
        state = optuna.trial.TrialState.PRUNED
    except (Diverged, torch.OutOfMemoryError) as error:
        state, problem = optuna.trial.TrialState.FAIL, str(error).split(". ")[0]
    score, metrics = max(seen, key=lambda of: of[0], default=(None, {}))
    done = state == optuna.trial.TrialState.COMPLETE
    if done and all((_told(other).score or -math.inf) < score for other in _ended(study) if other.value is not None):
        _keep(place, folder / "best")
    _drop_weights(place)
    names = [name for name in metrics if all(abs(of[name]) == abs(value) for value, of in seen)]
    told = {
        "settings": dict(settings),
        "metric": names[0] if names else None,
        "metrics": metrics,
        "score": score,
        "seconds": round(time.monotonic() - began, 1),
        "problem": problem,
        "outcome": {"COMPLETE": "done", "PRUNED": "pruned", "FAIL": "failed"}[state.name],
    }
    for name, value in told.items():
        trial.set_user_attr(name, value)
    study.tell(trial, score if done else None, state=state)
