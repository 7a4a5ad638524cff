"""Several runs that differ in chance, and what is kept of them.

What chance decides in fine-tuning is the new head's first numbers, the order of the rows and the dropout; on few labels
the spread is often larger than the gain that somebody reports (Dodge et al. 2020).

Cross-validation: each run leaves out one part of the labelled rows and predicts it, so that scores and confidences are
measured on all rows; one more run on all rows gives the weights that are kept.

With validation rows of their own, which are the same for all seeds: of the seeds' weights, and of their mean where that
is better in validation (the greedy soup of Wortsman et al. 2022), the best in validation are kept.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt
from safetensors.torch import load_file
from torch import Tensor

from patchword.data.atomic import write_json
from patchword.models.card import checked
from patchword.models.family import Model
from patchword.models.folder import write_tensors
from patchword.tasks.labelled import ChosenRows, LabelledExamples
from patchword.tasks.metrics import PROPORTIONS, interval
from patchword.tasks.task import Compute, Prepared
from patchword.training.checkpoint import TrainState, latest, read_numbers
from patchword.training.restored import restored
from patchword.training.run import RunConfig
from patchword.training.verdict import collapsed

DEFAULT = 5
"""Seeds of a run on few labels."""
FEW = 2000
"""Fewer labelled rows than this are few."""
RETRIES = 2
"""Times that the model on all rows is trained again, with another seed, where it collapses."""
_RESULT, _OUTPUTS = "result.json", "out_of_fold"


@dataclass(frozen=True)
class SeedResult:
    """A seed that has come to its end.

    Args:
        seed: of its random numbers.
        step, best_step, tokens, seconds: of its run.
        validation: metrics of its best weights.
    """

    seed: int
    step: int
    best_step: int
    tokens: int
    seconds: float
    validation: Mapping[str, float]

    @property
    def collapsed(self) -> bool:
        """Whether it tells nothing apart."""
        return bool(collapsed(self.validation))


def places(folder: Path, count: int) -> list[Path]:
    """Where each of so many runs writes: a single one into the run's own folder."""
    return [folder] if count == 1 else [folder / "seeds" / str(number) for number in range(count)]


def finished(place: Path) -> bool:
    """Whether the seed that writes there has come to its end."""
    return (place / _RESULT).is_file()


def aside(place: Path) -> list[Path]:
    """Where the models on all rows are that collapsed before the one that is trained in `place`."""
    return sorted(place.parent.glob(f"{place.name}-collapsed-*"))


def set_aside(run: RunConfig, where: Sequence[Path], number: int) -> bool:
    """Move a model on all rows away that collapsed by chance, so that it is trained again.

    By chance: that of a fold, on fewer rows, did not. A limit of time leaves none for another training.

    Args:
        run: that is trained.
        where: its places, of which those up to `number` have come to their end.
        number: of the place that is looked at.

    Returns:
        Whether it was moved.
    """
    if not run.cross_validated or number < run.seeds or run.recipe.minutes:
        return False
    *folds, kept = map(read_result, where)
    tries = len(aside(where[number]))
    if not kept.collapsed or all(fold.collapsed for fold in folds) or tries == RETRIES:
        return False
    shutil.rmtree(where[number] / "checkpoints", ignore_errors=True)
    where[number].rename(where[number].with_name(f"{where[number].name}-collapsed-{tries}"))
    return True


def part_of(prepared: Prepared, number: int) -> Prepared:
    """What run `number` trains on and is evaluated on: in a cross-validation all but one fold, and that fold."""
    folds, rows = prepared.folds, prepared.train
    if folds is None or number not in folds:
        return prepared
    assert isinstance(rows, LabelledExamples)
    train, validation = (ChosenRows(rows, np.flatnonzero(some)) for some in (folds != number, folds == number))
    return replace(prepared, train=train, validation=validation)


def finish_seed(place: Path, number: int, seed: int, state: TrainState, prepared: Prepared, compute: Compute) -> None:
    """Keep the best weights and what they reach, or of a fold its predictions; checkpoints are not needed any more.

    Args:
        place: of the run.
        number: of the run.
        seed: of its random numbers.
        state: at its end.
        prepared: all rows.
        compute: where.
    """
    load_best(state.model, place)
    task, part = prepared.task, part_of(prepared, number)
    of_fold = part is not prepared
    if of_fold:
        outputs = task.outputs_of(state.model, part.validation, compute)
        write_tensors({_OUTPUTS: torch.from_numpy(outputs)}, place / f"{_OUTPUTS}.safetensors")
        metrics = task.measured(outputs, part.validation)
    else:
        metrics = task.evaluate(state.model, part.validation, compute)
    if prepared.folds is not None and not of_fold:
        # On the rows that it was trained on, a score says nothing but whether it tells them apart.
        metrics = {name: value for name, value in metrics.items() if name in ("predicted_classes", "micro_f1")}
    result = SeedResult(seed, state.step, state.best_step, state.tokens, round(state.seconds, 1), metrics)
    write_json(place / _RESULT, asdict(result))
    for checkpoint in (place / "checkpoints").glob("*" if of_fold else "step-*"):
        shutil.rmtree(checkpoint) if checkpoint.is_dir() else checkpoint.unlink()


def cross_validated(where: Sequence[Path], prepared: Prepared) -> tuple[Prepared, dict[str, Any]]:
    """The rows with what the models of the folds predict for them, and what is reported of all runs.

    Args:
        where: of each fold's run, and last of the run on all rows.
        prepared: all rows.
    """
    folds = prepared.folds
    assert folds is not None
    results = [read_result(place) for place in where]
    parts = [load_file(place / f"{_OUTPUTS}.safetensors")[_OUTPUTS].numpy() for place in where[:-1]]
    out_of_fold = np.zeros((len(folds), *parts[0].shape[1:]), parts[0].dtype)
    for number, outputs in enumerate(parts):
        out_of_fold[folds == number] = outputs
    told = {
        "folds": len(parts),
        "collapsed": [number for number, result in enumerate(results[:-1]) if result.collapsed],
        "kept_collapsed": results[-1].collapsed,
        "validation": spread([result.validation for result in results[:-1]]),
        "runs": [asdict(result) for result in results],
        "retries": [asdict(read_result(place)) for place in aside(where[-1])],
    }
    return replace(prepared, out_of_fold=out_of_fold), told


class _Result(BaseModel):
    """`result.json`."""

    model_config = ConfigDict(strict=True, extra="forbid")

    seed: int
    step: NonNegativeInt
    best_step: NonNegativeInt
    tokens: NonNegativeInt
    seconds: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
    validation: Annotated[dict[str, float], Field(min_length=1)]


def read_result(place: Path) -> SeedResult:
    """What `finish_seed` kept."""
    remedy = f"Delete the folder {place}: `patchword resume` then trains this seed again."
    return SeedResult(**checked(_Result, place / _RESULT, remedy))


def trained_seconds(folder: Path, count: int) -> float:
    """Seconds for which the seeds of a run have been trained, as far as checkpoints know of it."""
    total = 0.0
    for place in places(folder, count):
        if finished(place):
            total += read_result(place).seconds
        elif checkpoint := latest(place / "checkpoints"):
            total += float(read_numbers(checkpoint)["seconds"])
    return total


def load_best(model: Model, place: Path) -> None:
    """Put the best weights of a seed into the model; those that it has stay where no evaluation was made."""
    weights = sorted((place / "checkpoints").glob("best-*.safetensors"))
    if weights:
        model.load_state_dict(load_file(weights[-1]), strict=False)


def choose(model: Model, where: Sequence[Path], data: Prepared, compute: Compute) -> tuple[list[int], dict[str, Any]]:
    """Put the weights that are best in validation into the model.

    Args:
        model: of the seeds' shape; changed.
        where: of each seed.

    Returns:
        the numbers of the seeds whose mean the weights are, and what is told of all seeds.
    """
    results = [read_result(place) for place in where]
    scores = [data.task.better(result.validation) for result in results]
    order = sorted(range(len(where)), key=lambda number: scores[number], reverse=True)
    chosen, best = order[:1], scores[order[0]]
    load_best(model, where[order[0]])
    mean = {name: tensor.detach().clone() for name, tensor in model.tensors().items()}
    for number in order[1:]:
        if results[number].collapsed:
            continue
        load_best(model, where[number])
        tried = _mean(mean, model.tensors(), len(chosen))
        _put(model, tried)
        score = data.task.better(data.task.evaluate(model, data.validation, compute))
        if score >= best:
            chosen, best, mean = [*chosen, number], score, tried
    _put(model, mean)
    told = {
        "count": len(where),
        "chosen": chosen,
        "collapsed": [number for number, result in enumerate(results) if result.collapsed],
        "validation": spread([result.validation for result in results]),
        "runs": [asdict(result) for result in results],
    }
    return chosen, told


def on_test(model: Model, where: Sequence[Path], data: Prepared, compute: Compute) -> dict[str, dict[str, float]]:
    """`spread` of the seeds' own weights on the test part; the model's weights are as they were afterwards."""
    assert data.test is not None
    metrics = []
    with restored(model):
        for place in where:
            load_best(model, place)
            metrics.append(data.task.evaluate(model, data.test, compute))
    return spread(metrics)


def spread(metrics: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Mean, standard deviation, and the mean's 95 % interval over seeds (Student's t) of each metric."""
    told = {}
    for name, first in metrics[0].items():
        if isinstance(first, float) and not name.endswith(("_low", "_high")):
            values = torch.tensor([float(of_seed[name]) for of_seed in metrics], dtype=torch.float64)
            ends = interval(values.numpy())
            least, most = (0.0, 1.0) if name in PROPORTIONS else (-math.inf, math.inf)
            told[name] = {
                "mean": ends.mean,
                "std": float(values.std()),
                "low": max(ends.low, least),
                "high": min(ends.high, most),
                "min": float(values.min()),
                "max": float(values.max()),
            }
    return told


def _mean(mean: Mapping[str, Tensor], other: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """The mean of `count` + 1 sets of weights, from that of the first `count`; counters are not averaged."""
    return {
        name: tensor + (other[name].detach() - tensor) / (count + 1) if tensor.is_floating_point() else tensor.clone()
        for name, tensor in mean.items()
    }


def _put(model: Model, weights: Mapping[str, Tensor]) -> None:
    with torch.no_grad():
        for name, tensor in model.tensors().items():
            tensor.copy_(weights[name])
