"""Predictions for files of any length: a chunk of rows at a time, in order, into a file that can be gone on with."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import patchword
from patchword.data.columns import Problems
from patchword.data.files import hash_of
from patchword.data.loader import Examples
from patchword.data.outputs import refuse_output_over_inputs
from patchword.data.row_file import Column, RowFile
from patchword.data.row_stream import Contents, RowStream, StreamedRow
from patchword.errors import UserError
from patchword.tasks.task import Ask, Task

if TYPE_CHECKING:
    from patchword.tasks.predictor import Predictor

CHUNK = 1024
"""Rows that are in memory at a time: sorted by length, computed, and written together."""
Prediction = dict[str, Any]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Predicted:
    """What was done.

    Attributes:
        path: of the file that was written.
        rows: in it.
        went_on_from: rows of them that an earlier run had written.
        bad: rows without a prediction, for the reason in the column `error`.
        seconds: that it took.
        tokens, dropped_tokens: of the texts, and of them those that were cut off; 0 where a task does not count them.
        notes: what was found out, in sentences.
    """

    path: Path
    rows: int
    went_on_from: int
    bad: int
    seconds: float
    tokens: int
    dropped_tokens: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        computed = self.rows - self.went_on_from
        parts = [f"{self.rows:,} rows", f"{self.seconds:.1f} s", f"{computed / max(self.seconds, 1e-9):,.0f} rows/s"]
        if self.went_on_from:
            parts.append(f"{self.went_on_from:,} of them written before")
        if self.tokens:
            parts.append(f"{self.dropped_tokens / self.tokens:.1%} of all tokens cut off")
        if self.bad:
            parts.append(f"{self.bad:,} bad rows without a prediction (column `error`)")
        return f"{', '.join(parts)}: {self.path}"


class FilePrediction:
    """Rows with the predictions beside them.

    Args:
        predictor: the model.
        stream: the rows.
        ask: names of columns.
        probabilities: whether what a task gives under `probabilities` is kept.
        skip_bad: rows that can not be read get no prediction, and the reason in a column `error`.

    Attributes:
        notes: which columns are used, in sentences.

    Raises:
        UserError: the rows can not be used as they are; the model has learnt nothing.
    """

    def __init__(
        self, predictor: Predictor, stream: RowStream, ask: Ask, *, probabilities: bool = True, skip_bad: bool = False
    ) -> None:
        self.predictor, self.stream = predictor, stream
        self.task = predictor.task
        self.probabilities, self.skip_bad = probabilities, skip_bad
        self.notes: list[str] = []
        self.ask = ask
        self.inputs = self.task.input_columns(stream.sample(), ask)
        self.contents: Contents = self._look_through()
        self.added = self._what_is_added()
        if empty := self.contents.empty_lines:
            self.notes.append(f"{empty:,} empty lines before the last text are left out: rows are fewer than lines.")
        if stream.are_tables:
            self.notes.insert(0, f"Read from {', '.join(map(repr, self.inputs))}.")
        if renamed := [self._name(name) for name in self.added if name in self.contents.kinds]:
            self.notes.append(f"Columns of these names are there already, so predictions are in {', '.join(renamed)}.")

    def columns(self) -> list[Column]:
        """The columns of the rows, then those of the predictions."""
        kinds = self.contents.kinds
        kept = [Column(name, frozenset(found), self.stream.arrow_type(name)) for name, found in kinds.items()]
        return kept + [Column(self._name(name), frozenset({kind})) for name, kind in self.added.items()]

    def chunks(self, first: int, ending: str) -> Iterator[tuple[list[dict[str, Any]], dict[str, int]]]:
        """The rows with their predictions, and what was counted in them, from a chunk on.

        Args:
            first: the chunk to begin with.
            ending: of the file that is written. In a .jsonl `probabilities` are a dict; a .parquet holds bytes and all
                figures of a number, of which others have six.

        Raises:
            UserError: without `skip_bad`, a row that can not be read, such as a broken picture.
        """
        whole = ending == ".parquet"
        rows = itertools.islice(self.stream, first * CHUNK, None)
        while chunk := list(itertools.islice(rows, CHUNK)):
            predictions, counts = self._predict(chunk)
            out = []
            for row, prediction in zip(chunk, predictions, strict=True):
                cells = row.cells if whole else {name: _readable(cell, row) for name, cell in row.cells.items()}
                added = prediction if ending == ".jsonl" else flat(prediction)
                out.append(cells | {self._name(k): v if whole else rounded(v) for k, v in added.items()})
            yield out, counts

    def marks(self) -> dict[str, str]:
        """What the result depends on."""
        compute = self.predictor.compute
        how = (
            (self.inputs, self.probabilities, self.skip_bad, self.predictor.max_length),
            (self.predictor.precision, compute.device.type, compute.batch_tokens, CHUNK),
            self.predictor.model.config,  # the size of pictures among it
        )
        folder = self.predictor.folder
        files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in _OF_A_MODEL)
        return {
            "the data": self.stream.fingerprint(self.inputs if self.task.modality == "image" else ()),
            "the model": hash_of(part for path in files for part in (path.name, path)),
            "the options": hash_of([repr(how)]),
            "the version of patchword": patchword.__version__,
        }

    def _name(self, name: str) -> str:
        while name in self.contents.kinds:
            name = f"predicted_{name}"
        return name

    def _what_is_added(self) -> dict[str, type]:
        """The columns of predictions and what they hold, as the first row that can be read has them."""
        reason = ""
        for row in self.stream:
            try:
                prediction = self._predict_one(row)
            except _BadRowError as error:
                reason = reason or f"{row}: {error}"
                if not self.skip_bad:
                    raise _stop([(row, str(error))]) from None
                continue
            added = {name: type(value) for name, value in flat(prediction).items()}
            return added | ({"error": str} if self.skip_bad else {})
        raise UserError(f"No row can be read. {reason}.")

    def _look_through(self) -> Contents:
        return self.stream.look_through(self.inputs, self.task.modality, self.skip_bad, self.task.reads_words)

    def _item(self, row: StreamedRow) -> Any:
        return self.stream.item(row, self.inputs, self.task.modality, self.task.reads_words)

    def _predict_one(self, row: StreamedRow) -> Prediction:
        try:
            item = self._item(row)
            examples = self.task.inputs([item], self.predictor.reader, self.ask)
        except UserError as error:
            raise _BadRowError(_reason(error)) from None
        return self._kept(self.task.predict(self.predictor.model, examples, self.predictor.compute)[0])

    def _predict(self, rows: Sequence[StreamedRow]) -> tuple[list[Prediction], dict[str, int]]:
        items: dict[int, Any] = {}
        bad: dict[int, str] = {}
        for number, row in enumerate(rows):
            try:
                items[number] = self._item(row)
            except UserError as error:
                bad[number] = _reason(error)
        examples = self._examples(items, bad)
        if bad and not self.skip_bad:
            raise _stop([(rows[number], bad[number]) for number in sorted(bad)])
        out: list[Prediction] = [{"error": bad[number]} if number in bad else {} for number in range(len(rows))]
        counts = {"rows": len(rows), "bad": len(bad)}
        if examples is not None:
            predictions = self.task.predict(self.predictor.model, examples, self.predictor.compute)
            for number, prediction in zip(items, predictions, strict=True):
                out[number] = self._kept(prediction)
            facts = getattr(examples, "facts", {})
            counts |= {name: int(facts.get(name, 0)) for name in ("tokens", "dropped_tokens")}
        return out, counts

    def _examples(self, items: dict[int, Any], bad: dict[int, str]) -> Examples | None:
        """All that can be read; what can not goes from `items` to `bad`."""
        if not items:
            return None
        try:
            return self.task.inputs(list(items.values()), self.predictor.reader, self.ask)
        except UserError:
            for number, item in list(items.items()):  # which ones is found out only where there are some
                try:
                    self.task.inputs([item], self.predictor.reader, self.ask)
                except UserError as error:
                    bad[number] = _reason(error)
                    del items[number]
            return self._examples(items, bad) if self.skip_bad else None

    def _kept(self, prediction: Prediction) -> Prediction:
        if self.probabilities:
            return prediction
        refuse_no_probabilities(prediction, self.task)
        return {name: value for name, value in prediction.items() if name != "probabilities"}


def write_predictions(
    prediction: FilePrediction, out: Path, *, overwrite: bool = False, progress: Progress = lambda done, total: None
) -> Predicted:
    """Write a file of rows with predictions, or go on with one that was interrupted.

    Args:
        prediction: of which rows.
        out: .csv, .tsv, .jsonl or .parquet.
        overwrite: replace a file that is there, and an unfinished one of other data, options or another model.
        progress: called with the rows done and all rows.

    Raises:
        UserError: the file is there; the data, the model or the options changed since it was begun.
    """
    begin = time.perf_counter()
    refuse_output_over_inputs(out, {"the data": prediction.stream.files, "the model": prediction.predictor.folder})
    file = RowFile(out, prediction.marks(), overwrite)
    with file.alone():
        before = file.counts.get("rows", 0)
        progress(before, prediction.contents.rows)
        columns = prediction.columns()
        for rows, counts in prediction.chunks(file.done, out.suffix.lower()):
            file.write(columns, rows, counts)
            progress(file.counts["rows"], prediction.contents.rows)
        counted = dict(file.counts)
        file.finish()
    return Predicted(
        path=out,
        rows=counted["rows"],
        went_on_from=before,
        bad=counted["bad"],
        seconds=time.perf_counter() - begin,
        tokens=counted.get("tokens", 0),
        dropped_tokens=counted.get("dropped_tokens", 0),
        notes=tuple(prediction.notes),
    )


def flat(prediction: Mapping[str, Any]) -> dict[str, Any]:
    """As columns: `probabilities` become a `p(NAME)` for each name."""
    chances = prediction.get("probabilities", {})
    rest = {name: value for name, value in prediction.items() if name != "probabilities"}
    return rest | {f"p({name})": chance for name, chance in chances.items()}


def rounded(value: Any) -> Any:
    """Six figures: what an fp32 number is good for."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list) else value


def refuse_no_probabilities(prediction: Prediction, task: Task) -> None:
    """Probabilities can not be left out of predictions that have none.

    Raises:
        UserError: it has none.
    """
    if "probabilities" not in prediction:
        raise UserError(f"--no-probabilities: only for classes; {task.name} predicts none here. Leave it out.")


class _BadRowError(Exception):
    """A row that can not be read; the message says why."""


_OF_A_MODEL = (".json", ".safetensors", ".bin", ".txt", ".model")


def _reason(error: UserError) -> str:
    return str(error).splitlines()[-1].rstrip(".")


def _stop(bad: Sequence[tuple[StreamedRow, str]]) -> UserError:
    """The error that names rows."""
    problems = Problems()
    for row, reason in bad:
        problems.note(reason, row.file, row.number)
    return problems.error("--skip-bad (skip_bad=True) leaves such rows without a prediction.")


def _readable(cell: Any, row: StreamedRow) -> Any:
    """Bytes are no text: a picture in a cell is named by where it stands."""
    if isinstance(cell, dict) and isinstance(cell.get("bytes"), bytes):
        return cell.get("path") or str(row)
    return str(row) if isinstance(cell, bytes) else cell
