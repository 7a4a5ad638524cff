"""What a task is: examples -> model inputs -> head -> loss -> metrics -> readable predictions.

A task is one module in this package that defines `TASK`; putting the file there is all it takes.
"""

from __future__ import annotations

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

import patchword.tasks
from patchword.data.columns import Sample
from patchword.data.files import Data
from patchword.data.image_processor import ImageProcessor
from patchword.data.loader import Batch, Examples, in_order
from patchword.data.sources import Labelled
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError, did_you_mean
from patchword.generation.settings import Generation, complete
from patchword.models.family import Family, Modality, Model
from patchword.tasks.processors import keep_to_share

Reader = Tokenizer | ImageProcessor
"""What turns raw input into what a model reads; kept in the model's folder."""
Windows = Literal["auto", "never", "always"]
Autocast = Callable[[], AbstractContextManager[Any]]
OF_TEXTS = ("text_column", "max_length", "tokenizer", "vocab_size", "extend_vocab")
"""Settings that every task of texts reads."""
OF_IMAGES = ("image_column", "image_size", "patch_size")
"""Settings that every task of images reads."""
OF_LABELS = ("label_column", "test")
"""Settings that every task with labels reads."""


@dataclass(frozen=True)
class Ask:
    """What a person said about the data; None where it is to be found out.

    Args:
        data: file, folder, pattern, or a list of them.
        validation: the same, kept apart from training; a part of `data` where not given, or all of it by
            cross-validation.
        test: the same; looked at once, when all is chosen.
        text_column, image_column, label_column: names of columns in tables.
        pair_column: of a second text, where an example is two.
        pairs: whether the model has learnt pairs of texts; None where nobody knows.
        word_pieces: whether the model tags each word piece of a text, not each word.
        where: "column=value": only such rows.
        lines: each line of a .txt is a document of its own.
        max_length: tokens at most, special ones included; the rest of a text is cut off, or cut into pieces.
        tokens_per_image: what one picture is in the model.
        augment: how pictures are changed while learning: names in `data.augment.PRESETS` joined with a +, or "auto".
        whole_word: mask whole words instead of word pieces.
        mask_share: of a text that is hidden while masked words are learnt.
        z_loss: weight of the penalty on the size of a language model's scores.
        start_token: id that every written text begins with, where a model reads one text and writes another.
        writes: whether the model writes an answer to what it reads, or goes on with it.
        prefix: text before every document that is summarized.
        prompt: text between a document and its summary, for models that go on with a text.
        max_target_length: tokens of a summary at most; found out from the summaries where not given.
        problem: "single_label_classification", "multi_label_classification" or "regression".
        windows: "always": a long text is read in several windows; "never": it is cut off; "auto": as it turns out.
        doc_stride: tokens from one window of a context to the next, where questions are asked about it.
        class_weights: "auto": rare classes count more in the loss, so that all count alike.
        label_smoothing: share of a target that all classes get alike, where a row has one class.
        contrast: share of supervised contrast in the loss of a classification, from 0 to under 1; None: what is usual.
        folds: of a cross-validation over `data`, for tasks that `cross_validates`; 0: a part is held back.
        seed: for the split.
    """

    data: Data
    validation: Data | None = None
    test: Data | None = None
    text_column: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    pair_column: str | None = None
    pairs: bool | None = None
    word_pieces: bool = False
    where: str | None = None
    lines: bool = False
    max_length: int = 256
    tokens_per_image: int = 0
    augment: str = "auto"
    whole_word: bool = False
    mask_share: float = 0.15
    z_loss: float = 0.0
    start_token: int = 0
    writes: Literal["answer", "rest"] = "rest"
    prefix: str = ""
    prompt: str | None = None
    max_target_length: int | None = None
    problem: str | None = None
    windows: Windows = "auto"
    doc_stride: int = 128
    class_weights: Literal["none", "auto"] = "none"
    label_smoothing: float = 0.0
    contrast: float | None = None
    folds: int = 0
    seed: int = 0


@dataclass(frozen=True)
class Prepared:
    """A task and its data, ready to be learnt.

    Args:
        task: knows the labels now.
        train, validation: the examples.
        test: looked at once, when all is chosen; None where there are none.
        notes: what was found out, in sentences for the person.
        facts: the same for `patchword.json`: columns, fingerprint, counts.
        folds: in a cross-validation, number of the fold of each row, `[n]`; `train` and `validation` hold all of them.
        held_back: whether the validation rows are a part of the data to train on.
        out_of_fold: what the models of the folds predict for the rows of their own fold, `[n, ...]`, once they are
            trained.
        predictions: what the finished model (in validation the models of the folds) predicts, by part; for tasks that
            compare by row.
    """

    task: Task
    train: Examples
    validation: Examples
    test: Examples | None = None
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    folds: np.ndarray | None = None
    held_back: bool = False
    out_of_fold: np.ndarray | None = None
    predictions: Mapping[str, np.ndarray] = field(default_factory=dict)


class Task(ABC):
    """One thing that a model learns to predict."""

    name: ClassVar[str]
    modality: ClassVar[Modality]
    way_out: ClassVar[str]
    """The head it asks a family for."""
    trunk: ClassVar[type[nn.Module]] = nn.Module
    """The kind of trunk that it needs."""
    understands: ClassVar[tuple[str, ...]] = ()
    """Other heads whose models can be used for it."""
    reads: ClassVar[Literal["corpus", "labelled"]]
    """Unlabelled text, or rows with labels."""
    new_head: ClassVar[bool] = True
    """Whether it learns from labels with a head that begins at random: chance decides much then, where they are few."""
    cross_validates: ClassVar[bool] = False
    """Whether few labelled rows are cross-validated: `outputs_of` and `measured` are there then."""
    reads_words: ClassVar[bool] = False
    """Whether an input can be a list of words."""
    heeds: ClassVar[tuple[str, ...]] = ()
    """Settings of a run that it reads, of those that not every task does (`tasks/options.py`)."""
    outputs: ClassVar[tuple[str, ...]] = ()
    """What the numbers of its head are called by programs that serve models; none where these are not exported."""
    labels: tuple[str, ...] = ()
    problem: str | None = None

    @classmethod
    def recognises(cls, data: Data) -> bool:
        """Whether files hold labelled examples of this task and of no other: what `finetune` learns if not told."""
        return False

    @classmethod
    def rows(cls, ask: Ask) -> Labelled | None:
        """What is read of each labelled row of `ask.data`, with classes where it has some; None of unlabelled data.

        Raises:
            UserError: the data can not be read, or are of another modality.
        """
        return None

    @classmethod
    def input_columns(cls, sample: Sample, ask: Ask) -> tuple[str, ...]:
        """The columns of a table without labels that make up an input, as `inputs` takes it: a cell, or a tuple."""
        return (sample.input_column(ask.text_column, ask.image_column)[1],)

    @classmethod
    @abstractmethod
    def prepare(cls, ask: Ask, reader: Reader, progress: Callable[[int], None]) -> Prepared:
        """Read the data and find out what there is to learn.

        Raises:
            UserError: the data can not be used as it is.
        """

    @classmethod
    @abstractmethod
    def restore(cls, model: Model, reader: Reader, card: Mapping[str, Any] = MappingProxyType({})) -> Task:
        """The task that a finished model has learnt.

        Args:
            card: `patchword.json` of its folder; empty where another program wrote the folder.
        """

    @classmethod
    @abstractmethod
    def inputs(cls, items: Sequence[Any], reader: Reader, ask: Ask) -> Examples:
        """Raw inputs without labels as examples: texts or tuples of texts, or pictures as paths or bytes."""

    @abstractmethod
    def labelled(self, ask: Ask, reader: Reader) -> Examples:
        """Data that the model has not seen as examples, to be evaluated on.

        Raises:
            UserError: among others, a label that the model does not know, with file and row.
        """

    @abstractmethod
    def predict(self, model: Model, examples: Examples, compute: Compute) -> list[dict[str, Any]]:
        """A readable prediction for each example, in their order."""

    @abstractmethod
    def loss(self, model: Model, batch: Batch) -> Tensor:
        """Summed loss over `batch.labels` targets."""

    @abstractmethod
    def evaluate(self, model: Model, examples: Examples, compute: Compute) -> dict[str, float]:
        """Metrics by name; memory does not grow with the set."""

    @abstractmethod
    def better(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """What makes a model the best so far: compared number by number, higher is better."""

    def outputs_of(self, model: Model, examples: Examples, compute: Compute) -> np.ndarray:
        """What the model gives for each example, `[n, ...]`, where the task `cross_validates`."""
        raise TypeError(f"{self.name} is not cross-validated")

    def measured(self, outputs: np.ndarray, examples: Examples) -> dict[str, float]:
        """`evaluate`, from what the model gave."""
        raise TypeError(f"{self.name} is not cross-validated")

    def held_out_predictions(self, model: Model, prepared: Prepared, compute: Compute) -> dict[str, np.ndarray]:
        """`Prepared.predictions`."""
        return {}

    @property
    def only_in_training(self) -> tuple[str, ...]:
        """Terms of the training loss that the loss of an evaluation does not have, in words."""
        return ()

    def begin(self, model: Model) -> None:
        """Set what a base checkpoint says of its use and this task changes, before the model is trained.

        Raises:
            UserError: it asks for something that is not supported.
        """
        complete(Generation(), model.generation)

    def finish(self, model: Model) -> None:  # noqa: B027  # most tasks keep nothing outside
        """Put into the head what was kept outside while learning."""

    def settle(self, model: Model, prepared: Prepared, compute: Compute) -> dict[str, Any]:
        """Fit what is chosen on the validation part once the weights are (a temperature, a threshold), and tell it."""
        return {}

    def probes(self, model: Model, prepared: Prepared, compute: Compute) -> dict[str, Any]:
        """What the labels are worth on a start that has not learnt from them: parts of `report`, which they join."""
        return {}

    def facts(self) -> dict[str, Any]:
        """What `restore` needs to know beside the model, for `patchword.json` under "settings"."""
        return {}

    def floors(self, train: Examples, held_out: Examples) -> dict[str, dict[str, float]]:
        """Metrics of simple methods that learn from the same rows, by method; none where a metric is its own floor."""
        return {}

    def baselines(self, prepared: Prepared) -> dict[str, Any]:
        """Scores of `floors` on the parts that are held back: "floors" and "test_floors", parts of `report`."""
        parts = {"floors": prepared.validation, "test_floors": prepared.test}
        found = {name: {} if rows is None else self.floors(prepared.train, rows) for name, rows in parts.items()}
        return {name: scores for name, scores in found.items() if scores}

    def report(self, model: Model, prepared: Prepared, compute: Compute) -> dict[str, Any]:
        """Scores of the trained model on the parts that are held back.

        And what else `judge` says: of the test rows where there are some.
        """
        report: dict[str, Any] = {}
        for part, rows in (("validation", prepared.validation), ("test", prepared.test)):
            if rows is not None:
                metrics, more = self.judge(model, rows, compute)
                report |= {part: metrics, **more}
        return report

    def compared(self, baselines: dict[str, Any], prepared: Prepared) -> dict[str, Any]:
        """What `baselines` and `probes` gave, beside `Prepared.predictions` of the trained model."""
        return baselines

    def judge(self, model: Model, examples: Examples, compute: Compute) -> tuple[dict[str, float], dict[str, Any]]:
        """Metrics of `evaluate`, and what a reader wants to know beside them: parts of `report`."""
        return self.evaluate(model, examples, compute), {}


_ON_CPU, _ELSEWHERE = 3072, 8192


def read_at_once(device: torch.device) -> int:
    """Tokens that are read at a time where nothing is learnt from them.

    On a CPU so few that what a layer gives is still in its caches when the next one reads it. Rows a second in batches
    of 8,192, 4,096, 2,048, 1,024 and 512 tokens, MiniLM's shape, two cores in fp32, medians of 4: reviews 287, 323,
    340, 314, 331; descriptions 79, 88, 86, 88, 83. Pictures for ViT-tiny in 8,192, 6,304, 3,152, 1,576 and 788: 49, 63,
    65, 68, 61.
    """
    return _ON_CPU if device.type == "cpu" else _ELSEWHERE


@dataclass(frozen=True)
class Compute:
    """Where and in which precision a model is used.

    Args:
        device: of the model.
        autocast: makes the context in which products run in another type.
        batch_tokens: tokens at a time.
        progress: called after each batch of `over` with the examples that are done, with all of them, and with the
            share of their tokens that is done.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    autocast: Autocast = nullcontext
    batch_tokens: int = _ON_CPU
    progress: Callable[[int, int, float], None] | None = None

    def over(
        self, model: Model, examples: Examples, ids: np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, Batch]]:
        """Every example (or those with `ids`) once, without gradients: (ids, a batch on the device)."""
        was_training = model.training
        model.eval()
        wanted = np.arange(len(examples)) if ids is None else ids
        tokens = 0 if self.progress is None else int(examples.lengths(wanted).sum())
        done = tokens_done = 0
        try:
            for some, batch in in_order(examples, self.batch_tokens, wanted):
                with torch.inference_mode(), self.autocast():
                    yield some, batch.to(self.device)
                if self.progress is not None:
                    done, tokens_done = done + len(some), tokens_done + batch.tokens
                    self.progress(done, len(wanted), tokens_done / max(tokens, 1))
        finally:
            model.train(was_training)


def choose_device(name: str = "auto") -> torch.device:
    """A device by name; "auto" is a CUDA GPU where there is one.

    torch's threads are kept to the container's share of the processors.

    Raises:
        UserError: no such device.
    """
    keep_to_share()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"There is no device '{name}' here. Try 'cpu' or 'auto'.") from error
    return device


@cache
def tasks() -> dict[str, type[Task]]:
    """All tasks by name: every module of this package that defines `TASK`."""
    found = {}
    for module in pkgutil.iter_modules(patchword.tasks.__path__, "patchword.tasks."):
        task = getattr(importlib.import_module(module.name), "TASK", None)
        if task is not None:
            found[task.name.replace("_", "-")] = task
    return found


def task_of(model: Model, said: str | None = None) -> type[Task]:
    """The task that a model with such a head has learnt.

    Args:
        model: as it was read.
        said: what its folder says that it has learnt; where several tasks have such a head, it decides, or else what
            the family's models are pretrained with.

    Raises:
        UserError: it has learnt none.
    """
    possible = {
        name: task
        for name, task in tasks().items()
        if task.modality == model.family.modality
        and isinstance(model.trunk, task.trunk)
        and model.way_out in (task.way_out, *task.understands)
    }
    for name in ((said or "").replace("_", "-"), model.family.objective, *possible):
        if name in possible:
            return possible[name]
    data = "photos/" if model.family.modality == "image" else "data.csv"
    raise UserError(
        f"The folder holds a bare model that has learnt no task; `patchword finetune FOLDER {data} --out ...` "
        "teaches it one."
    )


def untaught(modality: Modality) -> UserError:
    """What is said to somebody who asks a pretrained model for predictions."""
    data = "photos/" if modality == "image" else "data.csv"
    return UserError(
        "This is a pretrained model that has not learnt a task yet; "
        f"`patchword finetune FOLDER {data} --out ...` teaches it one."
    )


def task_named(name: str, family: Family) -> type[Task]:
    """A task by name ("masked-lm"; underscores are read as dashes) that models of a family can learn.

    Raises:
        UserError: there is none of that name, or such models read something else or have no head for it.
    """
    name = name.replace("_", "-")
    if name not in tasks():
        raise UserError(f"There is no task '{name}'{did_you_mean(name, tasks())} Tasks: {', '.join(sorted(tasks()))}.")
    task = tasks()[name]
    if task.modality != family.modality:
        raise UserError(f"The task {name} reads {task.modality}s, but {family.model_type} models {family.modality}s.")
    if not _learns(family, task):
        possible = ", ".join(sorted(name for name, other in tasks().items() if _learns(family, other)))
        raise UserError(f"{family.model_type} models can not learn {name}. What they can learn: {possible}.")
    return task


def _learns(family: Family, task: type[Task]) -> bool:
    """Whether such models have the head that a task asks for, on the kind of trunk that it needs."""
    way = family.ways_out.get(task.way_out)
    return way is not None and task.modality == family.modality and issubclass(way.trunk or family.trunk, task.trunk)


def kept_tokenizer(reader: Reader) -> Tokenizer:
    """The reader of a text task."""
    assert isinstance(reader, Tokenizer)
    return reader


def kept_images(reader: Reader) -> ImageProcessor:
    """The reader of an image task."""
    assert isinstance(reader, ImageProcessor)
    return reader
