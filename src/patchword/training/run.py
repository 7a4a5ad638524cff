"""A run: its settings as one file, its folder, and what it leaves there.

config.json model.safetensors tokenizer.json | preprocessor_config.json     a Hugging Face model folder
patchword.json     task, scores, floors, facts about the data, versions
run.json           the complete settings; the same file runs it again
README.md          the model card: the same in words
metrics.jsonl curves.png tensorboard/ checkpoints/
"""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Any, Literal

import pydantic
import torch
from pydantic import BaseModel, ConfigDict

import patchword
from patchword.errors import UserError
from patchword.models.config_file import read_json
from patchword.models.family import presets
from patchword.models.folder import write_json
from patchword.training.recipe import Recipe

RUN = "run.json"
CARD = "patchword.json"
BASELINES = "baselines.json"
"""Scores of the baselines, until the run is finished and they are in `patchword.json`."""


class RunConfig(BaseModel):
    """The complete settings of a run.

    Args:
        stage: unlabelled data first, or labelled ones.
        start: a preset, which begins with random weights, or a model folder.
        task: by name.
        data, validation, test: files, folders or patterns, as absolute paths.
        tokenizer: a folder whose tokenizer is taken; trained on the data where not given.
        vocab_size, max_length, image_size, patch_size: of the model, where they are not the start's own.
        extend_vocab: words of the data to add to the start's vocabulary.
        seeds: runs that differ in chance alone, with seed, seed + 1, ...; the best in validation is kept.
        fit_seeds: train fewer seeds where `recipe.minutes` has no time for all of them; settled at the start.
        device: where it runs.
    The rest is `tasks.task.Ask`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Literal["pretrain", "finetune"]
    start: str
    task: str
    data: tuple[str, ...]
    validation: tuple[str, ...] | None = None
    test: tuple[str, ...] | None = None
    text_column: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    pair_column: str | None = None
    where: str | None = None
    lines: bool = False
    augment: str = "auto"
    whole_word: bool = False
    z_loss: float = pydantic.Field(0.0, ge=0.0)
    prefix: str | None = None
    prompt: str | None = None
    max_target_length: int | None = pydantic.Field(None, gt=0)
    problem: str | None = None
    windows: Literal["auto", "never", "always"] = "auto"
    doc_stride: int = pydantic.Field(128, ge=1)
    class_weights: Literal["none", "auto"] = "none"
    label_smoothing: float = pydantic.Field(0.0, ge=0.0, lt=1.0)
    contrast: float | None = pydantic.Field(None, ge=0.0, lt=1.0)
    tokenizer: str | None = None
    vocab_size: int | None = None
    extend_vocab: int | None = pydantic.Field(None, gt=0)
    max_length: int | None = None
    image_size: int | None = None
    patch_size: int | None = None
    seed: int = 0
    seeds: int = pydantic.Field(1, ge=1)
    fit_seeds: bool = False
    device: str = "auto"
    recipe: Recipe

    @property
    def begins_anew(self) -> bool:
        """Whether it starts from a preset; if not, weights, sizes and reader are those of a folder."""
        return self.start in presets()


class RunFolder:
    """Where a run writes.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, overwrite: bool = False) -> RunFolder:
        """A new folder, or an empty one.

        Raises:
            UserError: it holds something already, or can not be made.
        """
        if path.is_file():
            raise UserError(f"{path} is a file; --out names a folder.")
        if path.exists() and any(path.iterdir()):
            if not (path / RUN).is_file():
                raise UserError(f"{path} is not empty, and holds no run of patchword. Choose another --out.")
            if cls(path).begun and not overwrite:  # one that failed before it began holds nothing
                raise UserError(
                    f"{path} holds another run. Go on with it: `patchword resume {path}`; or choose another --out, "
                    "or replace it with --overwrite."
                )
            shutil.rmtree(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"The folder {path} can not be made: {error.strerror}.") from error
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The folder of a run that has begun.

        Raises:
            UserError: there is none.
        """
        if not (path / RUN).is_file():
            raise UserError(
                f"{path} holds no run: it has no {RUN}. A run begins with `patchword pretrain` or `finetune`."
            )
        return cls(path)

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def begun(self) -> bool:
        """Whether all that a resume needs has been written."""
        return (self.path / CARD).is_file()

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.begun and "report" in read_json(self.path / CARD)

    def write_config(self, config: RunConfig) -> None:
        """Keep the settings."""
        write_json(self.path / RUN, config.model_dump(mode="json"))

    def read_config(self) -> RunConfig:
        """The settings again.

        Raises:
            UserError: they were edited into something that is none.
        """
        try:
            return RunConfig(**read_json(self.path / RUN))
        except pydantic.ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise UserError(f"{self.path / RUN}: {where}: {problem['msg']}.") from error

    def write_card(self, card: dict[str, Any]) -> None:
        """Keep what was found out and measured."""
        write_json(self.path / CARD, card)


def versions() -> dict[str, str]:
    """What the run was made with."""
    return {
        "patchword": patchword.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
