"""The state of a run, written so that the last complete one always survives.

A checkpoint is a folder `checkpoints/step-00000120` with `state.safetensors` and `state.json`. It is written under
another name and renamed when whole; only then are older ones removed.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from patchword.data.atomic import write_json
from patchword.data.loader import Position
from patchword.errors import UserError
from patchword.models.card import checked
from patchword.models.family import Model
from patchword.models.folder import write_tensors
from patchword.training.restored import restored
from patchword.training.run_files import NEW


@dataclass
class TrainState:
    """Everything that a run needs to go on as if it had not stopped.

    Args:
        model, optimizer: with their tensors.
        step: optimizer steps done.
        position: where the data stand.
        seconds: of the run so far.
        tokens: seen so far.
        best: the best evaluation so far, as the task compares them.
        since_best: evaluations since.
        evaluations: done so far.
        averaged: of how many evaluations the best weights are the mean.
        mean: of the weights along the run (`training/ema.py`); empty where none is kept.
    """

    model: Model
    optimizer: torch.optim.Optimizer
    step: int = 0
    position: Position = field(default_factory=Position)
    seconds: float = 0.0
    tokens: int = 0
    best: tuple[float, ...] | None = None
    best_step: int = 0
    since_best: int = 0
    evaluations: int = 0
    averaged: int = 0
    mean: dict[str, Tensor] = field(default_factory=dict)

    def save(self, checkpoints: Path) -> None:
        """Write a checkpoint, then remove the older ones.

        Raises:
            UserError: it could not be written; older ones are untouched.
        """
        name = f"step-{self.step:08d}"
        temporary = checkpoints / f".{name}.part"
        with _told(checkpoints, f"The checkpoint of step {self.step}"):
            try:
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
                write_tensors(self._tensors(), temporary / "state.safetensors")
                write_json(temporary / "state.json", self._numbers())
                if (checkpoints / name).exists():
                    # A run's end saves its last step once more. The old one steps aside under a name that `latest`
                    # knows as well, until the new one has its place.
                    shutil.rmtree(checkpoints / f"{name}-before", ignore_errors=True)  # a kill may have left one
                    os.replace(checkpoints / name, checkpoints / f"{name}-before")
                os.replace(temporary, checkpoints / name)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        for old in checkpoints.glob("step-*"):
            if old.name != name:
                shutil.rmtree(old, ignore_errors=True)
        for weights in checkpoints.glob("best-*.safetensors"):
            if weights != self.best_weights(checkpoints):
                weights.unlink(missing_ok=True)

    def best_weights(self, checkpoints: Path) -> Path:
        """Where the weights of the best evaluation are.

        Named by their step: a run that is killed and goes back to its last checkpoint must not take what it had found
        after it, so older ones stay until a checkpoint knows of the new ones.
        """
        return checkpoints / f"best-{self.best_step:08d}.safetensors"

    def save_best(self, checkpoints: Path) -> None:
        """Keep the weights as the best so far.

        Raises:
            UserError: they could not be written; those before are untouched.
        """
        with _told(checkpoints, f"The weights of step {self.step}"):
            checkpoints.mkdir(parents=True, exist_ok=True)
            write_tensors(
                {name: tensor.detach().cpu().contiguous() for name, tensor in self.model.tensors().items()},
                self.best_weights(checkpoints),
            )

    @contextmanager
    def averaged_with_best(self, checkpoints: Path) -> Iterator[None]:
        """For a while, the model is the mean of what the best weights are the mean of and of its own weights."""
        best, ours = load_file(self.best_weights(checkpoints)), self.model.tensors()
        with restored(self.model):
            with torch.no_grad():
                for name, tensor in ours.items():
                    if tensor.is_floating_point():
                        tensor.lerp_(best[name].to(tensor.device), self.averaged / (self.averaged + 1))
            yield

    def load(self, checkpoint: Path) -> None:
        """Take over the state of a checkpoint, random generators included.

        Raises:
            UserError: it can not be read, or belongs to another model.
        """
        try:
            numbers = read_numbers(checkpoint)
            with safe_open(checkpoint / "state.safetensors", framework="pt") as file:
                names = file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
            self._load_model({n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")})
            self._load_optimizer(tensors)
            self._load_mean({n.removeprefix("mean."): t for n, t in tensors.items() if n.startswith("mean.")})
            rng = tensors["rng.torch"]
        except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
            raise UserError(f"The checkpoint {checkpoint} can not be used: {error}. {_remedy(checkpoint)}") from error
        self.step, self.tokens, self.seconds = numbers["step"], numbers["tokens"], numbers["seconds"]
        self.position = Position(**numbers["position"])
        self.best = None if numbers["best"] is None else tuple(numbers["best"])
        self.best_step, self.since_best = numbers["best_step"], numbers["since_best"]
        self.evaluations, self.averaged = numbers["evaluations"], numbers["averaged"]
        torch.set_rng_state(rng)
        if torch.cuda.is_available() and "rng.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["rng.cuda"])

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"model.{name}": tensor.detach().cpu().contiguous() for name, tensor in self.model.tensors().items()}
        tensors |= {f"mean.{name}": tensor.detach().cpu().contiguous() for name, tensor in self.mean.items()}
        names = {id(p): name for name, p in self.model.named_parameters()}
        for parameter, values in self.optimizer.state.items():
            for key, value in values.items():
                tensors[f"optimizer.{names[id(parameter)]}:{key}"] = value.detach().cpu().contiguous()
        tensors["rng.torch"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["rng.cuda"] = torch.cuda.get_rng_state()
        return tensors

    def _load_model(self, tensors: Mapping[str, Tensor]) -> None:
        ours = self.model.tensors()
        if ours.keys() != tensors.keys():
            other = sorted(ours.keys() ^ tensors.keys())[0]
            raise ValueError(f"it belongs to another model; '{other}' is in only one of the two")
        with torch.no_grad():
            for name, tensor in ours.items():
                if tensor.shape != tensors[name].shape:
                    raise ValueError(f"it belongs to another model; '{name}' has another shape")
                tensor.copy_(tensors[name])

    def _load_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        parameters = dict(self.model.named_parameters())
        self.optimizer.state.clear()
        for full, tensor in tensors.items():
            if full.startswith("optimizer."):
                name, key = full.removeprefix("optimizer.").rsplit(":", 1)
                parameter = parameters[name]
                on = tensor.to(parameter.device) if key != "step" or parameter.is_cuda else tensor
                self.optimizer.state[parameter][key] = on

    def _load_mean(self, tensors: Mapping[str, Tensor]) -> None:
        ours = self.model.tensors()
        self.mean = {name: tensor.to(ours[name].device) for name, tensor in tensors.items()}

    def _numbers(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "position": self.position.state(),
            "seconds": self.seconds,
            "tokens": self.tokens,
            "best": self.best,
            "best_step": self.best_step,
            "since_best": self.since_best,
            "evaluations": self.evaluations,
            "averaged": self.averaged,
        }


class _Position(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")

    epoch: NonNegativeInt
    index: NonNegativeInt


class _Numbers(BaseModel):
    """`state.json`."""

    model_config = ConfigDict(strict=True, extra="allow")

    step: NonNegativeInt
    position: _Position
    seconds: Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
    tokens: NonNegativeInt
    best: list[float] | None
    best_step: NonNegativeInt
    since_best: NonNegativeInt
    evaluations: NonNegativeInt
    averaged: NonNegativeInt


def _remedy(checkpoint: Path) -> str:
    """What to do about a checkpoint that is damaged."""
    return (
        f"Delete {checkpoint}: `patchword resume {run_of(checkpoint.parent)}` then continues from an earlier "
        "checkpoint, or from the beginning if there is none."
    )


def run_of(checkpoints: Path) -> Path:
    """The folder of the run that checkpoints belong to, be they of one of its seeds or of a replacement."""
    run = next((folder for folder in checkpoints.parents if (folder / "run.json").is_file()), checkpoints.parent)
    return run.parent if run.name == NEW else run


@contextmanager
def _told(checkpoints: Path, what: str) -> Iterator[None]:
    """A write that fails is told with what is still there, and how to go on."""
    try:
        yield
    except OSError as error:
        last = latest(checkpoints)
        raise UserError(
            f"{what} could not be written to {checkpoints}: {error}. "
            + (f"The checkpoint {last.name} is complete" if last else "There is no checkpoint yet")
            + f"; make room, then `patchword resume {run_of(checkpoints)}`."
        ) from error


def latest(checkpoints: Path) -> Path | None:
    """The newest complete checkpoint of a run."""
    complete = sorted(path for path in checkpoints.glob("step-*") if (path / "state.json").is_file())
    return complete[-1] if complete else None


def read_numbers(checkpoint: Path) -> dict[str, Any]:
    """`state.json` of a checkpoint.

    Raises:
        UserError: it is damaged.
    """
    return checked(_Numbers, checkpoint / "state.json", _remedy(checkpoint))


def check_space(folder: Path, model: Model, seeds: int = 1, mean: bool = False) -> None:
    """Before hours of work: is there room for what they will write?

    Two checkpoints at a time (the old one goes when the new one is whole) of weights and both AdamW moments, the
    best weights and the final ones; of every further seed its best weights; the mean of the weights, if one is kept,
    in each checkpoint.

    Raises:
        UserError: there is not.
    """
    needed = (8 + seeds - 1 + 2 * mean) * 4 * model.num_parameters + 50_000_000
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder} has {free / 1e9:.2f} GB free, but the run needs {needed / 1e9:.2f} GB for its checkpoints. "
            "Make room, or choose another --out."
        )


def seed_everything(seed: int) -> None:
    """Set every random generator."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
