"""One trial of a sweep: a fine-tuning run that is ended early if it lags behind, and what is told of it."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from patchword.errors import NotFinite
from patchword.training.outcome import Diverged
from patchword.training.run_files import LOCK, NEW, commit, recover, remove_new, remove_run

if TYPE_CHECKING:
    import optuna

_TOLD = "told"
_STATES = {"done": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Args:
        number: of its folder.
        settings: of `finetune`, as far as they are not the default.
        outcome: "done", "pruned" (ended early), or "failed".
        metric: name of the metric that decides; None before the first evaluation.
        metrics: of its best evaluation.
        score: the first number by which the task compares; higher is better. None before the first evaluation.
        seconds: that it took.
        problem: why it failed.
    """

    number: int
    settings: Mapping[str, Any]
    outcome: str
    metric: str | None
    metrics: Mapping[str, float]
    score: float | None
    seconds: float
    problem: str | None

    @property
    def told(self) -> str:
        """The settings in words; none for the default."""
        return ", ".join(f"{name} {value}" for name, value in self.settings.items())


def ended(study: optuna.Study) -> list[Trial]:
    """All trials but those that wait, those that were killed, and one that is under way."""
    return [
        Trial(number=trial.number, **trial.user_attrs[_TOLD])
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished() and _TOLD in trial.user_attrs
    ]


def repeat_killed(study: optuna.Study, folder: Path) -> None:
    """Let trials that a kill cut short be made again, before any other; what they left in the folder is removed."""
    from optuna.trial import TrialState

    recover(folder / "best")
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        if _TOLD in trial.user_attrs:  # it was killed after its last breath
            _finish(study, trial.number, trial.user_attrs[_TOLD])
        else:
            remove_run(_place(folder, trial.number))
            study.enqueue_trial(trial.params)
            study.tell(trial.number, state=TrialState.FAIL)


def make(
    study: optuna.Study,
    trial: optuna.Trial,
    folder: Path,
    run: Callable[..., Any],
    settings: Mapping[str, Any],
    progress: Callable[[int], None],
) -> None:
    """Learn, and put what came out of it into the study.

    Args:
        study: with the trials before.
        trial: the study's own, to be told to it.
        folder: of the sweep; the run is written to `trials/N` and, if it is the best so far, to `best`.
        run: `finetune` with all that trials have in common.
        settings: of this trial.
        progress: called with the number of each evaluation.
    """
    import optuna

    place = _place(folder, trial.number)
    seen: list[tuple[float, dict[str, float]]] = []
    problem = None

    def watch(number: int, metrics: Mapping[str, float], score: float) -> None:
        if not math.isfinite(score):
            raise Diverged("The score in validation is no number.")
        seen.append((score, dict(metrics)))
        trial.report(score, number)
        progress(number)
        if trial.should_prune():
            raise optuna.TrialPruned

    began = time.monotonic()
    try:
        run(out=place, quiet=True, watch=watch, **settings)
        outcome = "done"
    except optuna.TrialPruned:
        outcome = "pruned"
    except (NotFinite, torch.OutOfMemoryError) as error:
        outcome, problem = "failed", str(error).split(". ")[0]
    score, metrics = max(seen, key=lambda of: of[0], default=(None, {}))
    before = [other.score for other in ended(study) if other.outcome == "done" and other.score is not None]
    if outcome == "done" and score is not None and all(other < score for other in before):
        _keep(place, folder / "best")
    _drop_weights(place)
    deciding = [name for name in metrics if all(abs(of[name]) == abs(value) for value, of in seen)]
    told = {
        "settings": dict(settings),
        "outcome": outcome,
        "metric": deciding[0] if deciding else None,
        "metrics": metrics,
        "score": score,
        "seconds": round(time.monotonic() - began, 1),
        "problem": problem,
    }
    trial.set_user_attr(_TOLD, told)
    _finish(study, trial.number, told)


def _finish(study: optuna.Study, number: int, told: Mapping[str, Any]) -> None:
    from optuna.trial import TrialState

    done = told["outcome"] == "done"
    study.tell(number, told["score"] if done else None, state=TrialState[_STATES[told["outcome"]]])


def _place(folder: Path, number: int) -> Path:
    return folder / "trials" / str(number)


def _keep(place: Path, best: Path) -> None:
    """Put a run where the best one is, whole or not at all."""
    recover(best)
    remove_new(best)
    shutil.copytree(place, best / NEW, ignore=shutil.ignore_patterns("checkpoints", LOCK))
    commit(best)


def _drop_weights(place: Path) -> None:
    shutil.rmtree(place / "checkpoints", ignore_errors=True)
    for path in place.rglob("*.safetensors"):
        path.unlink()
