"""Questions about texts with their answers, as SQuAD has them: nested json, or a row for each question.

Rajpurkar et al. 2016 and 2018: an answer is a piece of the context; a question without one is unanswerable.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from patchword.data.columns import Problems, Sample, wrong_text
from patchword.data.files import Data, ending, find, hash_of, items_of
from patchword.data.split_names import refuse_mixed_splits
from patchword.data.tables import TABLE_ENDINGS, Filter, rows
from patchword.errors import UserError, did_you_mean

Answer = tuple[str, int]
"""A piece of a context, and the index of its first character there."""


@dataclass(frozen=True)
class Questions:
    """Questions in memory.

    Args:
        questions, contexts: a text each.
        answers: of each question those that count as right; none where it is unanswerable.
        columns: where they stand in the table: "text" is the question, "pair" the context, "label" the answers.
        origins: file and row of each; empty where nobody knows.
        notes: what was found out, in sentences for the person.
        fingerprint: hex blake2b of the contents and of what was chosen from them.
    """

    questions: Sequence[str]
    contexts: Sequence[str]
    answers: Sequence[Sequence[Answer]]
    columns: Mapping[str, str]
    origins: Sequence[str] = ()
    notes: Sequence[str] = ()
    fingerprint: str = ""

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def inputs(self) -> list[tuple[str, str]]:
        """Each question with its context."""
        return list(zip(self.questions, self.contexts, strict=True))

    @property
    def unanswerable(self) -> int:
        """Questions without an answer."""
        return sum(not answers for answers in self.answers)

    def subset(self, ids: Iterable[int]) -> Questions:
        """The questions with these numbers, in this order."""
        ids = [int(i) for i in ids]
        return replace(
            self,
            questions=[self.questions[i] for i in ids],
            contexts=[self.contexts[i] for i in ids],
            answers=[self.answers[i] for i in ids],
            origins=[self.origins[i] for i in ids] if self.origins else (),
            fingerprint=hash_of([self.fingerprint, array("q", ids).tobytes()]),
        )


def holds_questions(data: Data) -> bool:
    """Whether every file is a table with questions, contexts and answers."""
    tables = list(find(data))
    if not all(ending(path) in TABLE_ENDINGS for path in tables):
        return False
    there = set(Sample.of(tables).columns)
    return {"question", "context"} <= there and bool({"answers", "answer"} & there)


def read_questions(
    data: Data,
    *,
    question_column: str | None = None,
    context_column: str | None = None,
    answer_column: str | None = None,
    where: str | None = None,
) -> Questions:
    """Read questions with contexts and answers.

    Args:
        data: tables (.json of SQuAD's nested form among them).
        question_column, context_column: "question" and "context" where not given.
        answer_column: "answers" or "answer" where not given. A cell is `{"text": [...], "answer_start": [...]}`, a list
            of `{"text": ..., "answer_start": ...}`, or the text itself, which the column "answer_start" finds, or else
            its first occurrence in the context. An empty one says that there is no answer.
        where: "column=value": only such rows.

    Raises:
        UserError: a column is missing, or a row is wrong: with file, row, and what stands there.
    """
    read = find(data)
    refuse_mixed_splits(read, items_of(data), where)
    tables = list(read)
    if plain := [path for path in tables if ending(path) not in TABLE_ENDINGS]:
        raise UserError(f"{plain[0]} is no table. Questions are in a .json of SQuAD, or a .csv, .jsonl or .parquet.")
    kept = Filter(where) if where else None
    sample = Sample.of(tables, kept)
    question, context = question_column or "question", context_column or "context"
    answer = answer_column or ("answers" if "answers" in sample.columns else "answer")
    for column in (question, context, answer):
        if column not in sample.columns:
            raise UserError(
                f"{sample.name} has no column '{column}'; its columns are: {', '.join(sample.columns)}"
                f"{did_you_mean(column, sample.columns)} Question answering needs question, context and answers."
            )
    wanted = [c for c in (question, context, answer, "answer_start", "is_impossible") if c in sample.columns]
    questions, contexts, answers, origins, guessed = [], [], [], [], 0
    wrong = Problems()
    for path in tables:
        for number, cells in rows(path, wanted, kept):
            asked, text = cells.get(question), cells.get(context)
            for kind, cell in (("question", asked), ("context", text)):
                problem = wrong_text(cell)
                wrong.note(None if problem is None else f"{kind}: {problem}", path, number)
            try:
                right, sure = _answers(cells, answer, text if isinstance(text, str) else "")
            except ValueError as error:
                wrong.note(str(error), path, number)
                continue
            guessed += not sure
            questions.append(asked)
            contexts.append(text)
            answers.append(right)
            origins.append(f"{path.name}, row {number}")
    wrong.stop()
    notes = [f"question column: '{question}', context column: '{context}', answers: '{answer}'"]
    if guessed:
        notes.append(
            f"{guessed:,} answers stand more than once in their context; the first place was taken "
            "(a column answer_start says which)."
        )
    columns = {"text": question, "pair": context, "label": answer}
    return Questions(
        [str(text) for text in questions],
        [str(text) for text in contexts],
        answers,
        columns,
        origins,
        notes,
        hash_of([repr((columns, where)), *tables]),
    )


def _answers(cells: Mapping[str, Any], column: str, context: str) -> tuple[list[Answer], bool]:
    """The answers of a row, and whether it is sure where they stand.

    Raises:
        ValueError: what is wrong, in words.
    """
    cell = cells.get(column)
    if str(cells.get("is_impossible")).lower() in ("true", "1"):
        return [], True
    if cell is None and column == "answers":
        raise ValueError("no answers (a question without one has an empty list)")
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return [], True
    if isinstance(cell, str):
        start = cells.get("answer_start")
        return ([_checked(cell, _number(start), context)], True) if start not in (None, "") else _found(cell, context)
    if isinstance(cell, Mapping):
        texts, starts = cell.get("text"), cell.get("answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise ValueError('the answers have no lists "text" and "answer_start" of equal length')
        pairs = list(zip(texts, starts, strict=True))
    elif isinstance(cell, list) and all(isinstance(one, Mapping) for one in cell):
        pairs = [(one.get("text"), one.get("answer_start")) for one in cell]
    else:
        raise ValueError(f"{str(cell)[:40]!r} is no answer in SQuAD's form, and no text")
    return [_checked(text, _number(start), context) for text, start in pairs], True


def _number(cell: object) -> int:
    try:
        return int(str(cell))
    except ValueError:
        raise ValueError(f"answer_start is {str(cell)[:40]!r}, not a whole number") from None


def _checked(text: object, start: int, context: str) -> Answer:
    """The answer, if it stands there."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError("an answer without text (a question without one has an empty list)")
    if start < 0 or context[start : start + len(text)] != text:
        there = context[start : start + len(text)] if start >= 0 else ""
        at = context.find(text)
        elsewhere = f"it stands at {at}" if at >= 0 else "it stands nowhere in the context"
        raise ValueError(f"the answer {text[:40]!r} is not at answer_start {start} ({there[:40]!r} is); {elsewhere}")
    return text, start


def _found(text: str, context: str) -> tuple[list[Answer], bool]:
    text = text.strip()
    at = context.find(text)
    if at < 0:
        raise ValueError(f"the answer {text[:40]!r} does not stand in the context, to the letter")
    return [(text, at)], context.find(text, at + 1) < 0
