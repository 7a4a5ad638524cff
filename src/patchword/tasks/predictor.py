"""Use of a model folder: predict, evaluate, and read its vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from patchword.data.columns import Sample, wrong_text
from patchword.data.files import Data, ending, find
from patchword.data.image_processor import LARGEST_SIDE
from patchword.data.loader import Examples
from patchword.data.row_file import check_can_be_written
from patchword.data.row_stream import RowStream
from patchword.data.tables import TABLE_ENDINGS
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.generation.settings import read_settings
from patchword.generation.write import write
from patchword.generation.writer import lay_out_for_writing, what_writes
from patchword.models.card import read_card
from patchword.models.config import EncoderDecoderConfig, ImageConfig, TextConfig
from patchword.models.family import Model
from patchword.models.folder import describe, find_folder, read_model, surface
from patchword.models.heads import VocabularyHead
from patchword.models.image_processors import read_image_processor
from patchword.models.trunks import Decoder, Generative
from patchword.nn.finite import finite
from patchword.tasks.file_prediction import FilePrediction, Predicted, write_predictions
from patchword.tasks.image_classification import ImageClassification
from patchword.tasks.options import refuse_unread
from patchword.tasks.precision import choose_precision, round_to_int8
from patchword.tasks.sentence_vectors import SentenceVectors, read_sentence_vectors
from patchword.tasks.task import Ask, Compute, Reader, Task, choose_device, read_at_once, task_of
from patchword.tasks.text_classification import TextClassification
from patchword.tasks.text_readers import read_text_reader

Inputs = Sequence[str] | Sequence[tuple[str, str]] | Sequence[Mapping[str, str]] | Sequence[Any]
"""Texts, pairs of texts, what a task puts together of several, or images as `data.images.given_image` takes them."""


class Predictor:
    """A model with what turns raw input into what it reads.

    Args:
        folder: where it came from.
        model: in evaluation mode.
        reader: its tokenizer or image processor.
        max_length: tokens of a text at most, special ones included.
        compute: where.
        card: its `patchword.json`; empty where another program wrote the folder.
        precision: name of the type in which `compute` computes.
    """

    def __init__(
        self,
        folder: Path,
        model: Model,
        reader: Reader,
        max_length: int,
        compute: Compute,
        card: Mapping[str, Any] = MappingProxyType({}),
        precision: str = "fp32",
    ) -> None:
        self.folder = folder
        self.model = model.eval()
        self.reader = reader
        self.max_length = max_length
        self.compute = compute
        self.card = card
        self.precision = precision

    @cached_property
    def task(self) -> Task:
        """What the model has learnt.

        Raises:
            UserError: it has learnt nothing.
        """
        return task_of(self.model, self.card.get("task")).restore(self.model, self.reader, self.card)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, where the model has classes."""
        return self.model.labels

    def predict(self, inputs: Inputs) -> list[dict[str, Any]]:
        """A prediction for each text, pair of texts (a tuple), or image.

        Args:
            inputs: a list; an image is a path, the bytes of a file, an open file, a PIL image, an array with channels
                last or a tensor with channels first (uint8: 0 to 255, floating point: 0 to 1).

        Returns:
            dicts; for a class `label`, `confidence` and `probabilities`, for several `labels` and `probabilities`,
            for a number `value`.

        Raises:
            UserError: the model has learnt no task, or an input can not be read.
        """
        task = self.task
        inputs = self._checked(inputs)
        if not inputs:
            return []
        examples = task.inputs(inputs, self.reader, self._ask(pairs=self.pairs))
        return task.predict(self.model, examples, self.compute)

    def predict_file(
        self,
        data: Data,
        out: str | Path,
        *,
        probabilities: bool = True,
        skip_bad: bool = False,
        overwrite: bool = False,
        progress: Callable[[int, int], None] = lambda done, total: None,
        **columns: Any,
    ) -> Predicted:
        """Predictions for files of any length, in a file: all columns that were there, then `label`, `confidence`, ...

        It is written in steps; interrupted, the same call goes on where it was.

        Args:
            data: tables, plain texts (a text on each line), pictures; a file, a folder, a pattern or a list of them.
            out: .csv, .tsv, .jsonl or .parquet.
            probabilities: whether there is a `p(NAME)` for each class (in a .jsonl a dict `probabilities`).
            skip_bad: a row that can not be read gets no prediction, and the reason in a column `error`.
            overwrite: replace a file that is there, and an unfinished one that does not fit.
            progress: called with the rows done and all rows.
            columns: `text_column`, `image_column`, `where` where they are not to be found out.

        Raises:
            UserError: among others, a row that can not be read, with file and row.
        """
        check_can_be_written(Path(out), overwrite)
        prediction = self.file_prediction(data, probabilities=probabilities, skip_bad=skip_bad, **columns)
        return write_predictions(prediction, Path(out), overwrite=overwrite, progress=progress)

    def file_prediction(
        self, data: Data, *, probabilities: bool = True, skip_bad: bool = False, **columns: Any
    ) -> FilePrediction:
        """The same as a stream of rows; arguments as for `predict_file`."""
        ask = self._ask(data, pairs=self.pairs, **self.columns(data, **columns))
        stream = RowStream(data, ask.where)
        return FilePrediction(self, stream, ask, probabilities=probabilities, skip_bad=skip_bad)

    def evaluate(self, data: Data, **columns: Any) -> dict[str, float]:
        """Metrics on labelled data (on unlabelled text for a masked language model), with 95 % intervals.

        Args:
            data: a file, a folder, a pattern or a list of them.
            columns: `text_column`, `pair_column`, `image_column`, `label_column`, `where`, `lines` where they are
                neither those that the model learnt from nor to be found out.

        Raises:
            UserError: among others, a label that the model does not know, with file and row.
        """
        task = self.task
        ask = self._ask(data, pairs=self.pairs, **self.columns(data, labels=True, **columns))
        return task.evaluate(self.model, task.labelled(ask, self.reader), self.compute)

    @property
    def pairs(self) -> bool | None:
        """Whether it has learnt pairs of texts; None where its folder does not say so."""
        return "pair" in self._learnt_columns if "text" in self._learnt_columns else None

    def columns(self, data: Data, labels: bool = False, **given: Any) -> dict[str, Any]:
        """What is said of columns, completed by those that the model learnt from, where tables have them all."""
        given = {name: value for name, value in given.items() if value is not None and value is not False}
        refuse_unread(given, self._kind)
        learnt = {f"{kind}_column": name for kind, name in self._learnt_columns.items()}
        inputs = {name: column for name, column in learnt.items() if name != "label_column"}
        tables = [path for path in find(data) if ending(path) in TABLE_ENDINGS]
        there = Sample.of(tables).columns if tables and learnt else []
        if set(inputs.values()) <= set(there) and not given.keys() & inputs.keys():
            given |= inputs
        if labels and learnt.get("label_column") in there:
            given.setdefault("label_column", learnt["label_column"])
        return given

    @property
    def _kind(self) -> type[Task]:
        """The task whose data it reads: its own, or for vectors and written texts what is classified."""
        try:
            return type(self.task)
        except UserError:
            return TextClassification if isinstance(self.reader, Tokenizer) else ImageClassification

    @property
    def _learnt_columns(self) -> Mapping[str, str]:
        columns: Mapping[str, str] = self.card.get("data", {}).get("columns", {})
        return columns

    def features(self, inputs: Inputs, pool: str | None = None) -> np.ndarray:
        """One contextual vector for each input, `[n, width]`.

        The modules, the length, the default prompt and the lower case of a sentence-transformers folder are followed.

        Args:
            inputs: as for `predict`.
            pool: "mean" over an input's tokens, "mean_sqrt_len" (their sum over the root of their number),
                "weighted_mean" (later tokens count more), the "class" token (the first), the "last" one (which has
                seen all others where each sees the earlier ones), or "max"; what the folder says where not given, and
                "mean" where it says nothing.
        """
        how = self._vectors.pooled_by(pool)
        items = self._checked(inputs)
        examples, skipped = self._texts_for(how, items) if isinstance(self.reader, Tokenizer) else (None, 0)
        if examples is None:
            examples = ImageClassification.inputs(items, self.reader, self._ask(windows="never"))
        found: dict[int, np.ndarray] = {}
        for ids, batch in self.compute.over(self.model, examples):
            vectors = finite(how(self.model.read(*batch.inputs), skipped).cpu()).numpy()
            found.update(zip(map(int, ids), vectors, strict=True))
        if not found:
            return np.empty((0, self.model.config.width), np.float32)
        return np.stack([found[i] for i in range(len(items))]).astype(np.float32)

    @cached_property
    def _vectors(self) -> SentenceVectors:
        return read_sentence_vectors(self.folder)

    def _texts_for(self, how: SentenceVectors, items: list[Any]) -> tuple[Examples, int]:
        """Texts as `how` reads them, and how many tokens of the prompt are not pooled."""
        assert isinstance(self.reader, Tokenizer)
        tokenizer = self.reader.lowercased() if how.lowercase else self.reader
        longest = self.model.config.max_length if isinstance(self.model.config, TextConfig) else None
        max_length = self.max_length if how.max_length is None else min(how.max_length, longest or how.max_length)
        skipped = how.tokens_of_prompt(tokenizer)
        if max_length <= max(len(tokenizer.single), skipped):
            raise UserError(
                f"{self.folder}: {max_length} tokens (max_seq_length) leave no room for a text beside its special "
                "tokens and its prompt."
            )
        if how.prompt and not all(isinstance(item, str) for item in items):
            raise UserError(f"{self.folder} puts a prompt before each text, which is not supported for pairs.")
        texts = [how.prompt + item for item in items] if how.prompt else items
        return TextClassification.inputs(texts, tokenizer, self._ask(windows="never", max_length=max_length)), skipped

    def _checked(self, inputs: Inputs) -> list[Any]:
        """The inputs as a list, in which each text is one, be it an empty one.

        What a task puts together of several texts it looks at itself.
        """
        # An array or a tensor is a list of texts, or with four axes one of images; with two or three it is an image.
        several = isinstance(inputs, Iterable) and getattr(inputs, "ndim", 1) in (1, 4)
        if not several or isinstance(inputs, str | bytes | Mapping) or hasattr(inputs, "read"):
            raise UserError("Give a list of inputs, even for one: predict([...]).")
        items = list(inputs)
        for number, item in enumerate(items if isinstance(self.reader, Tokenizer) else (), 1):
            together = isinstance(item, Sequence | Mapping) and not isinstance(item, str | bytes)
            if problem := None if together else wrong_text(item, may_be_empty=True):
                raise UserError(f"Input {number}: {problem}.")
        return items

    @property
    def goes_on(self) -> bool:
        """Whether what it writes is the rest of a prompt (a decoder), not an answer to it."""
        return isinstance(self.model.trunk, Decoder)

    def generate(
        self, prompts: Sequence[str], *, told: Callable[[str], None] | None = None, **settings: Any
    ) -> list[str]:
        """What the model writes after each prompt, or in answer to it.

        Args:
            prompts: texts.
            told: called with the text so far as tokens are written, where there is one prompt and one beam.
            settings: fields of `generation.settings.Generation`: `max_new_tokens`, `temperature`, `top_p`, `beams` and
                so on; those that are not given are as `generation_config.json` of the folder says.

        Raises:
            UserError: the model does not write, a setting is wrong, or a prompt is too long.
        """
        if isinstance(prompts, str):
            raise UserError("Give a list of prompts, even for one: generate([...]).")
        how = read_settings(settings)
        what_writes(self.model)
        assert isinstance(self.reader, Tokenizer)
        tell = None if told is None else lambda row, text: told(text)
        with torch.inference_mode():
            return write(self.model, self.reader, prompts, how, tell)

    def _ask(self, data: Data = "", **columns: Any) -> Ask:
        config = self.model.config
        known: dict[str, Any] = {
            "max_length": self.max_length,
            "tokens_per_image": config.tokens if isinstance(config, ImageConfig) else 0,
            "start_token": config.decoder_start_token_id if isinstance(config, EncoderDecoderConfig) else 0,
            "writes": "answer" if isinstance(config, EncoderDecoderConfig) else "rest",
            "windows": self.card.get("settings", {}).get("windows", "never"),
            "doc_stride": self.card.get("settings", {}).get("doc_stride", 128),
            "word_pieces": bool(self.card.get("settings", {}).get("word_pieces")),
        }
        return Ask(data=data, **(known | columns))


def load(folder: str | Path, device: str = "auto", precision: str = "fp32", image_size: int | None = None) -> Predictor:
    """A model folder, ready for use.

    Args:
        folder: written by patchword or by `transformers`, or a name on the Hugging Face hub.
        device: where it runs; "auto" is a GPU where there is one.
        precision: "fp32", "bf16", "auto": what the hardware runs fast; or "int8", on a CPU: linear layers in 8 bits,
            which costs accuracy that `evaluate` tells.
        image_size: side of the pictures in pixels, where it is not to be what the model has learnt from.

    Raises:
        UserError: it can not be used as it is.
    """
    path = find_folder(folder)
    on = choose_device(device)
    card = read_card(path)
    if card and "report" not in card:
        raise UserError(f"The run in {path} is not finished. Go on with it: `patchword resume {path}`.")
    description = describe(path)
    config = description.config
    reader: Reader
    changes: dict[str, Any] = {}
    if isinstance(config, TextConfig):
        if image_size is not None:
            raise UserError(f"--image-size {image_size}: {path} reads texts. Leave it out.")
        reader = read_text_reader(path, description, card)
        lengths = (card.get("max_length"), reader.max_length, config.max_length)
        max_length = min(int(length) for length in lengths if length)
        if max_length <= len(reader.single):
            raise UserError(
                f"{path}: {max_length} tokens (model_max_length) leave no room for a text beside its special tokens."
            )
    else:
        assert isinstance(config, ImageConfig)
        reader = read_image_processor(path, description.family, config)
        if image_size is not None:
            if not 1 <= image_size <= LARGEST_SIDE:
                raise UserError(f"--image-size {image_size}: the side of an image has 1 to {LARGEST_SIDE:,} pixels.")
            reader = reader.at((image_size, image_size))
        changes["image_size"] = reader.size  # positions learnt for another size are resized
        max_length = config.tokens
    loaded = read_model(path, device=on, **changes)
    surface(loaded.notes)
    model = loaded.model
    if on.type == "cpu" and isinstance(model.head, VocabularyHead) and isinstance(model.trunk, Generative):
        lay_out_for_writing(model)
    if precision == "int8":
        round_to_int8(model.trunk, on)
    precision, autocast = (precision, nullcontext) if precision == "int8" else choose_precision(precision, on)
    return Predictor(path, model, reader, max_length, Compute(on, autocast, read_at_once(on)), card, precision)


def evaluate(folder: str | Path, data: Data, **columns: Any) -> dict[str, float]:
    """`load(folder).evaluate(data)`."""
    return load(folder).evaluate(data, **columns)
