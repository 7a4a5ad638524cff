"""`patchword check`: what is wrong with data, told before a model learns from them."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from patchword.checks.findings import SHOWN, Finding, Harm, Report, by_harm
from patchword.checks.run import DATA, check_rows
from patchword.data.files import Data, find
from patchword.data.sources import Labelled, read_labelled
from patchword.data.tokenizers import Tokenizer
from patchword.errors import Notice, UserError, did_you_mean
from patchword.models.card import read_card
from patchword.models.config import TextConfig
from patchword.models.folder import describe, find_folder
from patchword.tasks.labels import PROBLEMS
from patchword.tasks.options import refuse_unread
from patchword.tasks.task import Ask, Task, tasks
from patchword.tasks.text_readers import read_text_reader


def check(
    data: Data,
    *,
    validation: Data | None = None,
    test: Data | None = None,
    model: str | Path | None = None,
    text_column: str | None = None,
    pair_column: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    where: str | None = None,
    problem: str | None = None,
) -> Report:
    """Look at data before a model learns from them: rows that can not be used, labels, duplicates, leaks.

    Args:
        data: what is learnt from: texts or pictures, with labels or without; or words, questions or summaries.
        validation, test: the other splits, if they are apart.
        model: a folder; its tokenizer counts the tokens, and what would be cut off, of texts that are classified.
        text_column, pair_column, image_column, label_column, where, problem: as in `finetune`.

    Raises:
        UserError: there are no such files, or no such model.
    """
    if problem is not None and problem not in PROBLEMS:
        raise UserError(f"There is no problem '{problem}'{did_you_mean(problem, PROBLEMS)} There are: {PROBLEMS}.")
    given = {name: some for name, some in ((DATA, data), ("validation", validation), ("test", test)) if some}
    columns: dict[str, Any] = {
        "text_column": text_column,
        "pair_column": pair_column,
        "image_column": image_column,
        "label_column": label_column,
        "where": where,
    }
    findings: list[Finding] = []
    with warnings.catch_warnings(record=True) as caught:  # what notices say is in the report
        warnings.simplefilter("always", Notice)
        for name, some in given.items():
            if left_out := find(some).left_out:
                what = "Convert or remove them; finetune goes on without them."
                findings.append(Finding(Harm.LEFT_OUT, f"{name}: files that are not read", [left_out], what))
        report = _report(given, columns, model, problem)
    said = dict.fromkeys(str(notice.message) for notice in caught if issubclass(notice.category, Notice))
    for notice in said:
        if not any(notice.endswith(finding.places[0]) for finding in findings):
            findings.append(Finding(Harm.LEFT_OUT, notice, [], "Is that right?"))
    return replace(report, findings=by_harm([*report.findings, *findings]))


def _report(given: dict[str, Data], columns: dict[str, Any], model: str | Path | None, problem: str | None) -> Report:
    data = given[DATA]
    reader, length = _reader(model)
    asked = {name for name, value in (columns | {"problem": problem}).items() if value is not None}
    if kind := _other_task(data):
        refuse_unread(asked, kind)
        if model is not None:
            raise UserError(f"--model: only for texts that are classified; these are for {kind.name}. Leave it out.")
        return _of_task(kind, given, columns)
    splits: dict[str, Labelled] = {}
    notes: list[str] = []
    findings: list[Finding] = []
    for name, some in given.items():
        rows, found = _read(name, some, columns)
        findings += found
        if rows is not None:
            splits[name] = rows
            notes += rows.notes if name == DATA else []
    if len({rows.modality for rows in splits.values()}) > 1:
        raise UserError("Some of the splits are texts and some are pictures. Give one kind.")
    for rows in splits.values():
        refuse_unread(asked, tasks()[f"{rows.modality}-classification"])
        if model is not None and rows.modality == "image":
            raise UserError("--model: only for texts, whose tokens it counts. Leave it out.")
    if model is not None and reader is None:
        raise UserError(f"--model {model}: it reads images, so it has no tokens of texts to count. Leave it out.")
    report = check_rows(splits, reader, length, problem)
    return Report([*notes, *report.about], report.numbers, [*findings, *report.findings])


def _reader(model: str | Path | None) -> tuple[Tokenizer | None, int]:
    """A text model's tokenizer, and how many tokens it reads: as it has learnt, else 256 as `finetune` begins with."""
    if model is None:
        return None, 0
    folder = find_folder(model)
    description = describe(folder)
    config = description.config
    if not isinstance(config, TextConfig):
        return None, 0
    card = read_card(folder)
    return read_text_reader(folder, description, card), min(int(card.get("max_length") or 256), config.max_length)


def _other_task(data: Data) -> type[Task] | None:
    """The task that reads files of this format, where it is not classification."""
    try:
        return next((kind for kind in tasks().values() if kind.reads == "labelled" and kind.recognises(data)), None)
    except UserError:  # told when the rows are read
        return None


def _of_task(kind: type[Task], given: dict[str, Data], columns: dict[str, Any]) -> Report:
    """What the task's own reader says, and what is odd in the rows."""
    splits: dict[str, Labelled] = {}
    findings: list[Finding] = []
    for split, some in given.items():
        try:
            rows = kind.rows(Ask(some, **columns))
        except UserError as error:
            what = "Mend this first; finetune would stop here."
            findings.append(Finding(Harm.UNREADABLE, f"{split}: the rows can not be read", [str(error)], what))
        else:
            splits |= {} if rows is None else {split: rows}
    report = check_rows(splits)
    told = f"These are data for {kind.name.replace('_', ' ')}."
    return Report([told, *report.about], report.numbers, findings + report.findings)


def _read(name: str, data: Data, columns: dict[str, Any]) -> tuple[Labelled | None, list[Finding]]:
    """The rows that can be used, with labels if there are any, and what is wrong with the others."""
    findings: list[Finding] = []
    bad: list[str] = []
    try:
        rows = read_labelled(data, pairs=True, bad_rows=bad, **columns)
    except UserError as error:
        bad.clear()
        try:
            rows = read_labelled(data, pairs=True, need_labels=False, bad_rows=bad, **columns)
        except UserError:
            return None, [Finding(Harm.UNREADABLE, f"{name}: it can not be read", [str(error)], "Mend this first.")]
        what = "To learn classes, name the column or give labels."
        findings.append(Finding(Harm.LEFT_OUT, f"{name}: there are no labels that can be used", [str(error)], what))
    if bad:
        total = len(rows) + len({place.split(": ", 1)[0] for place in bad})
        title = f"{name}: rows that can not be used: {total - len(rows):,} of {total:,}"
        what = "Mend or remove them: finetune would stop here. They were left out of what follows."
        findings.append(Finding(Harm.UNUSABLE_ROWS, title, bad[:SHOWN], what, total - len(rows)))
    return (rows if len(rows) else None), findings
