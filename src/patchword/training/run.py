"""A run: its settings as one file, its folder, and what it leaves there.

config.json model.safetensors tokenizer.json | preprocessor_config.json     a Hugging Face model folder
patchword.json     task, scores, floors, facts about the data, versions
run.json           the complete settings; the same file runs it again
README.md          the model card: the same in words
metrics.jsonl curves.png tensorboard/ checkpoints/
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import torch
from pydantic import BaseModel, ConfigDict

import patchword
from patchword.data.atomic import write_json
from patchword.data.image_processor import LARGEST_SIDE
from patchword.data.names import encodable
from patchword.errors import UserError, did_you_mean
from patchword.models.card import CARD, RunCard, checked, problem_of, read_card
from patchword.models.family import presets
from patchword.tasks.task import tasks
from patchword.training.recipe import Recipe
from patchword.training.run_files import (
    NEW,
    alone_in,
    commit,
    is_being_replaced,
    is_empty,
    only_start,
    recover,
    remove_new,
    remove_run,
)

RUN = "run.json"
BASELINES = "baselines.json"
"""Scores of the baselines, until the run is finished and they are in `patchword.json`."""


def _path_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("it must be a path")
    return value


PathText = Annotated[str, pydantic.PlainValidator(_path_text), pydantic.PlainSerializer(lambda text: text)]
"""A path as Python has it: a byte that is not UTF-8 is a lone surrogate, which pydantic's own str refuses."""


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
        seeds: runs that differ in chance alone, with seed, seed + 1, ...; the best in validation is kept. In a
            cross-validation, runs that each leave out one part of the rows, before the one on all rows.
        fit_seeds: train fewer seeds where `recipe.minutes` has no time for all of them; settled at the start.
        device: where it runs.
    The rest is `tasks.task.Ask`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    stage: Literal["pretrain", "finetune"]
    start: PathText
    task: str
    data: tuple[PathText, ...]
    validation: tuple[PathText, ...] | None = None
    test: tuple[PathText, ...] | None = None
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
    max_target_length: int | None = pydantic.Field(None, gt=0, le=2**20)
    problem: str | None = None
    windows: Literal["auto", "never", "always"] = "auto"
    doc_stride: int = pydantic.Field(128, ge=1, le=2**20)
    class_weights: Literal["none", "auto"] = "none"
    label_smoothing: float = pydantic.Field(0.0, ge=0.0, lt=1.0)
    contrast: float | None = pydantic.Field(None, ge=0.0, lt=1.0)
    tokenizer: PathText | None = None
    vocab_size: int | None = pydantic.Field(None, gt=0, le=10_000_000)
    extend_vocab: int | None = pydantic.Field(None, gt=0, le=10_000_000)
    max_length: int | None = pydantic.Field(None, gt=0, le=2**20)
    image_size: int | None = pydantic.Field(None, gt=0, le=LARGEST_SIDE)
    patch_size: int | None = pydantic.Field(None, gt=0, le=LARGEST_SIDE)
    seed: int = pydantic.Field(0, ge=0, lt=2**31)
    seeds: int = pydantic.Field(1, ge=1, le=1000)
    fit_seeds: bool = False
    device: str = "auto"
    recipe: Recipe

    @property
    def cross_validated(self) -> bool:
        """Whether the seeds are the folds of a cross-validation over the labelled rows.

        Not where a validation set is given, where an evaluation chooses among weights, which needs one, or where the
        weights of a fold would not be those that are kept (`blend`).
        """
        return (
            self.seeds > 1
            and self.validation is None
            and self.recipe.keep == "last"
            and self.recipe.blend == 1
            and tasks()[self.task.replace("_", "-")].cross_validates
        )

    @property
    def runs(self) -> int:
        """How many times a model is trained: for each seed, and after a cross-validation once more on all rows."""
        return self.seeds + self.cross_validated

    @property
    def begins_anew(self) -> bool:
        """Whether it starts from a preset; if not, weights, sizes and reader are those of a folder."""
        return self.start in presets()


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check each setting by itself, before anything is read or written.

    Args:
        settings: fields of `RunConfig` and `Recipe`; None stands for the default.

    Raises:
        UserError: there is no such setting, or its value is out of range.
    """
    known = RunConfig.model_fields | Recipe.model_fields
    for name, value in settings.items():
        if name not in known:
            raise UserError(f"There is no setting '{name}'{did_you_mean(name, known)}")
        if value is None or name in ("data", "validation", "test", "tokenizer"):
            continue
        field = known[name]
        kind = Annotated[field.annotation, pydantic.Field(), *field.metadata]  # type: ignore[name-defined]
        try:
            pydantic.TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False)).validate_python(value)
        except pydantic.ValidationError as error:
            raise UserError(f"{name} {value!r}: {problem_of(error)}.") from error


class RunFolder:
    """Where a run writes.

    Args:
        path: the folder.
        out: the folder that the user named; another one while the run is made that replaces the one in `out`.
    """

    def __init__(self, path: Path, out: Path | None = None) -> None:
        self.path = path
        self.out = path if out is None else out

    @classmethod
    @contextmanager
    def create(cls, out: Path, overwrite: bool = False) -> Iterator[RunFolder]:
        """The folder of a new run, locked as long as this lasts.

        A run that is in `out` already is replaced when the new one has finished; until then it stays as it is, and the
        new one is written into a hidden folder beside its files. What fails before it has begun leaves nothing.

        Raises:
            UserError: `out` holds something already, can not be made, or another process writes there.
        """
        if (shown := encodable(str(out.absolute()))) != str(out.absolute()):
            raise UserError(f"{shown} is not UTF-8, which libraries that write there need. Choose another --out.")
        with alone_in(out, _BUSY.format(out)):
            folder = cls._claimed(out, overwrite)
            try:
                yield folder
            except BaseException:
                if not folder.begun:
                    remove_run(folder.path)
                    remove_new(out)
                raise

    @classmethod
    def _claimed(cls, out: Path, overwrite: bool) -> RunFolder:
        """The folder to write to; leftovers of runs that did not begin are removed."""
        recover(out)
        if is_empty(out):
            remove_run(out)
            remove_new(out)
            return cls(out)
        if not (out / RUN).is_file():
            raise UserError(f"{out} is not empty, and holds no run of patchword. Choose another --out.")
        if only_start(out) and not cls(out).begun:  # a kill came before its first step
            remove_run(out)
            remove_new(out)
            return cls(out)
        if not overwrite:
            raise UserError(_another(out))
        remove_new(out)
        (out / NEW).mkdir()
        return cls(out / NEW, out)

    def publish(self) -> None:
        """Where the run replaces another: let it take that one's place, now that it has finished."""
        if self.path != self.out:
            commit(self.out)
            self.path = self.out

    @classmethod
    @contextmanager
    def reopen(cls, out: Path) -> Iterator[RunFolder]:
        """The folder of a run that was interrupted, locked as long as this lasts.

        Raises:
            UserError: there is none, or another process writes there.
        """
        if not out.is_dir():
            raise UserError(_NONE.format(out))
        with alone_in(out, _BUSY.format(out)):
            recover(out)
            folder = cls(out / NEW, out) if (out / NEW / RUN).is_file() else cls(out)
            if not (folder.path / RUN).is_file():
                raise UserError(_NONE.format(out))
            yield folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The folder of a run that has begun.

        Raises:
            UserError: there is none.
        """
        if is_being_replaced(path):
            raise UserError(
                f"The run in {path} was being replaced by another one when that was interrupted. `patchword resume "
                f"{path}` completes the replacement."
            )
        if not (path / RUN).is_file():
            raise UserError(_NONE.format(path))
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
        return self.begun and "report" in self.read_card()

    def write_config(self, config: RunConfig) -> None:
        """Keep the settings."""
        write_json(self.path / RUN, config.model_dump(mode="json"))

    def read_config(self) -> RunConfig:
        """The settings again.

        Raises:
            UserError: they were edited into something that is none.
        """
        remedy = "Restore the file from a copy, or begin a new run."
        return RunConfig(**checked(RunConfig, self.path / RUN, remedy))

    def read_card(self) -> dict[str, Any]:
        """What `write_card` kept.

        Raises:
            UserError: it is damaged.
        """
        return read_card(self.path, RunCard)

    def write_card(self, card: dict[str, Any]) -> None:
        """Keep what was found out and measured."""
        write_json(self.path / CARD, card)


_NONE = "{} holds no run: it has no run.json. A run begins with `patchword pretrain` or `finetune`."
_BUSY = "Another process is writing to {} at this moment. Wait for it, or take another folder."


def _another(out: Path) -> str:
    return (
        f"{out} holds another run. Go on with it: `patchword resume {out}`; or choose another --out, or replace it "
        "with --overwrite."
    )


def versions() -> dict[str, str]:
    """What the run was made with."""
    return {
        "patchword": patchword.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
