"""The piece of a text that answers a question (Devlin et al. 2018, sections 4.2 and 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from patchword.checks.quick import learnt_from
from patchword.data.columns import Sample
from patchword.data.duplicates import same_inputs
from patchword.data.files import Data
from patchword.data.loader import Batch, Examples
from patchword.data.sources import Labelled, Origins
from patchword.data.squad import Questions, holds_questions, read_questions
from patchword.errors import UserError
from patchword.models.family import Model
from patchword.nn.finite import finite
from patchword.nn.packing import Layout, Packed
from patchword.tasks.answers import LEAST_UNANSWERABLE, Found, best_answer, best_spans, nearest_sentence, null_threshold
from patchword.tasks.question_windows import QuestionWindows
from patchword.tasks.squad_metrics import row_scores, summary
from patchword.tasks.task import OF_LABELS, OF_TEXTS, Ask, Compute, Prepared, Reader, Task, kept_tokenizer

VALIDATION_SHARE = 0.1
_SHOWN = 5  # mistakes
_NO_ANSWER = "(no answer)"


class QuestionAnswering(Task):
    """Where the answer to a question begins and ends in a context.

    Args:
        unanswerable: whether there are questions without an answer among those learnt from.
        threshold: there is no answer where the score of none exceeds that of the best answer by more than this.
        doc_stride: tokens from one window of a context to the next, as it was learnt.
    """

    name = "question_answering"
    modality = "text"
    way_out = "span"
    outputs = ("start_logits", "end_logits")
    reads = "labelled"
    heeds = (*OF_TEXTS, *OF_LABELS, "pair_column", "doc_stride")

    def __init__(self, unanswerable: bool = False, threshold: float = 0.0, doc_stride: int = 128) -> None:
        self.unanswerable, self.threshold, self.doc_stride = unanswerable, threshold, doc_stride

    @classmethod
    def recognises(cls, data: Data) -> bool:
        """Columns named question, context, and answers or answer."""
        return holds_questions(data)

    @classmethod
    def rows(cls, ask: Ask) -> Labelled:
        """Questions with their contexts."""
        rows = _read(ask.data, ask)
        return Labelled("text", rows.inputs, None, Origins.named(rows.origins))

    @classmethod
    def input_columns(cls, sample: Sample, ask: Ask) -> tuple[str, ...]:
        """The question's and the context's."""
        return ask.text_column or "question", ask.pair_column or "context"

    @classmethod
    def prepare(cls, ask: Ask, reader: Reader, progress: Callable[[int], None]) -> Prepared:
        """Read the questions; where no validation part is given, hold back a tenth of the contexts with theirs."""
        train = rows = _read(ask.data, ask)
        notes = [*rows.notes, f"{len(rows):,} questions, {rows.unanswerable:,} of them without an answer."]
        apart = None
        if ask.validation is None:
            validation, train = _held_back(rows, ask)
            notes.append(
                f"{len(validation):,} questions held back for validation, on contexts of their own (seed {ask.seed})."
            )
        else:
            validation = apart = _read(ask.validation, ask)
        test_rows = None if ask.test is None else _read(ask.test, ask)
        findings = learnt_from(rows, {"validation": apart, "test": test_rows})
        notes += [finding.sentence() for finding in findings]
        if train.unanswerable and validation.unanswerable < LEAST_UNANSWERABLE:
            notes.append(
                f"{validation.unanswerable:,} validation questions have no answer, under {LEAST_UNANSWERABLE}: that "
                "there is none is said where its score is the best, and no threshold is fitted."
            )
        task = cls(train.unanswerable > 0, doc_stride=ask.doc_stride)
        learn, held = (_examples(part, reader, ask) for part in (train, validation))
        test = None if test_rows is None else _examples(test_rows, reader, ask)
        facts = {
            "fingerprint": rows.fingerprint,
            "validation_fingerprint": validation.fingerprint,
            **({} if test_rows is None else {"test_fingerprint": test_rows.fingerprint}),
            "columns": dict(rows.columns),
            "rows": len(train),
            "validation_rows": len(validation),
            "findings": [finding.as_dict() for finding in findings],
            **learn.facts,
        }
        return Prepared(task, learn, held, test, (*notes, *learn.notes), facts)

    @classmethod
    def restore(cls, model: Model, reader: Reader, card: Mapping[str, Any] = MappingProxyType({})) -> QuestionAnswering:
        """With the threshold of the folder; a folder that says nothing always gives an answer."""
        known = card.get("settings", {})
        return cls(
            bool(known.get("unanswerable")), float(known.get("null_threshold", 0.0)), int(known.get("doc_stride", 128))
        )

    def facts(self) -> dict[str, Any]:
        """Whether questions may have no answer, and when it is said that they have none."""
        return {"unanswerable": self.unanswerable, "null_threshold": self.threshold, "doc_stride": self.doc_stride}

    @classmethod
    def inputs(cls, items: Sequence[Any], reader: Reader, ask: Ask) -> QuestionWindows:
        """Tuples (question, context), or dicts with these keys."""
        pairs = [_pair(item) for item in items]
        questions = Questions([q for q, _ in pairs], [c for _, c in pairs], [()] * len(pairs), {})
        return _examples(questions, reader, ask)

    def labelled(self, ask: Ask, reader: Reader) -> QuestionWindows:
        """Questions with their answers."""
        return _examples(_read(ask.data, ask), reader, ask)

    def loss(self, model: Model, batch: Batch) -> Tensor:
        """Mean of the cross-entropies of beginning and end over a window's tokens, summed over the windows."""
        logits = model(*batch.inputs).float()
        return self._losses(logits, batch).sum()

    @staticmethod
    def _losses(logits: Tensor, batch: Batch) -> Tensor:
        tokens = batch.inputs[0]
        assert isinstance(tokens, Packed)
        scores = _rectangle(logits, tokens.layout)
        return F.cross_entropy(scores, batch.targets, reduction="none").mean(1)

    def found(self, model: Model, examples: QuestionWindows, compute: Compute) -> tuple[list[Found], float]:
        """What the model finds for each question, and its mean loss over the windows."""
        kept: list[list[tuple[float, int, int]]] = [[] for _ in examples.asked]
        null = np.full(len(kept), np.inf)
        total = 0.0
        for ids, batch in compute.over(model, examples):
            logits = finite(model(*batch.inputs).float())
            total += float(self._losses(logits, batch).sum())
            for window, scores in zip(ids, torch.split(logits.cpu(), list(batch.lengths)), strict=True):
                number, begin = int(examples.owners[window]), int(examples.begins[window])
                first = examples.first_of_context(number)
                count = int(examples.ends[window]) - begin
                null[number] = min(null[number], float(scores[0].sum()))
                for score, start, end in best_spans(scores[first : first + count].numpy()):
                    kept[number].append((score, start + begin, end + begin))
        return [best_answer(examples, n, spans, float(null[n])) for n, spans in enumerate(kept)], total / len(examples)

    def is_null(self, one: Found) -> bool:
        """Whether it is said that there is no answer."""
        return one.start == one.end or (self.unanswerable and one.null - one.score > self.threshold)

    def predict(self, model: Model, examples: Examples, compute: Compute) -> list[dict[str, Any]]:
        """`answer` ("" for none), `confidence`, `start` and `end` (characters), `null` (score of none less that)."""
        assert isinstance(examples, QuestionWindows)
        predictions = []
        for number, one in enumerate(self.found(model, examples, compute)[0]):
            start, end = (0, 0) if self.is_null(one) else (one.start, one.end)
            answer = examples.questions.contexts[number][start:end]
            lead = one.null - one.score if np.isfinite(one.score) else 0.0
            confidence = one.confidence if answer else one.confidence * float(np.exp(lead))
            predictions.append({"answer": answer, "confidence": confidence, "start": start, "end": end, "null": lead})
        return predictions

    def evaluate(self, model: Model, examples: Examples, compute: Compute) -> dict[str, float]:
        """Exact match and F1 as SQuAD counts them, 0 to 1, and the mean loss of a window."""
        assert isinstance(examples, QuestionWindows)
        found, loss = self.found(model, examples, compute)
        return {"loss": loss, **_scored(self._answers(found, examples), examples.questions)}

    def _answers(self, found: Sequence[Found], examples: QuestionWindows) -> list[str]:
        contexts = examples.questions.contexts
        return [
            "" if self.is_null(one) else text[one.start : one.end] for one, text in zip(found, contexts, strict=True)
        ]

    def better(self, metrics: Mapping[str, float]) -> tuple[float, ...]:
        """A higher F1; among equals more exact matches, then a lower loss."""
        return metrics["f1"], metrics["exact_match"], -metrics["loss"]

    def floors(self, train: Examples, held_out: Examples) -> dict[str, dict[str, float]]:
        """The line or sentence that shares most words with the question (Richardson et al. 2013); no answer at all."""
        assert isinstance(held_out, QuestionWindows)
        asked = held_out.questions
        nearest = [nearest_sentence(q, c) for q, c in zip(asked.questions, asked.contexts, strict=True)]
        floors = {"sentence of most shared words": _scored(nearest, asked)}
        if self.unanswerable:
            floors["no answer"] = _scored([""] * len(asked), asked)
        return floors

    def judge(self, model: Model, examples: Examples, compute: Compute) -> tuple[dict[str, float], dict[str, Any]]:
        """Scores, and the mistakes that it was surest of."""
        assert isinstance(examples, QuestionWindows)
        found, loss = self.found(model, examples, compute)
        answers = self._answers(found, examples)
        return {"loss": loss, **_scored(answers, examples.questions)}, _mistakes(found, answers, examples.questions)

    def settle(self, model: Model, prepared: Prepared, compute: Compute) -> dict[str, Any]:
        """Fit the threshold to the best F1 on the validation part."""
        if self.unanswerable:
            assert isinstance(prepared.validation, QuestionWindows)
            found = self.found(model, prepared.validation, compute)[0]
            self.threshold = null_threshold(found, prepared.validation.questions)
            return {"null_threshold": self.threshold}
        return {}


def _rectangle(logits: Tensor, layout: Layout) -> Tensor:
    """`[T, 2]` -> `[N, longest, 2]`, minus infinity where there is no token."""
    scores = logits.new_full((len(layout), layout.longest, 2), -torch.inf)
    return scores.index_put((layout.sequence_ids, layout.positions), logits)


def _scored(answers: Sequence[str], questions: Questions) -> dict[str, float]:
    golds = [[text for text, _ in gold] for gold in questions.answers]
    return summary(row_scores(answers, golds), np.array([bool(gold) for gold in golds]))


def _mistakes(found: Sequence[Found], answers: Sequence[str], questions: Questions) -> dict[str, Any]:
    """ "samples", the surest answers that are not the expected ones, and "samples_are", what they are."""
    exact = row_scores(answers, [[text for text, _ in gold] for gold in questions.answers])[:, 0]
    wrong = sorted(map(int, np.flatnonzero(exact == 0)), key=lambda n: -found[n].confidence)
    samples = [
        {
            "before": questions.questions[n],
            "written": answers[n] or _NO_ANSWER,
            "expected": questions.answers[n][0][0] if questions.answers[n] else _NO_ANSWER,
        }
        for n in wrong[:_SHOWN]
    ]
    told = (
        f"Answers that are not exactly the expected ones: {len(samples)} of {len(wrong):,} are shown, those it was "
        "surest of."
    )
    return {"samples": samples, "samples_are": told if wrong else "Every answer is exactly the expected one."}


def _examples(questions: Questions, reader: Reader, ask: Ask) -> QuestionWindows:
    return QuestionWindows(questions, kept_tokenizer(reader), ask.max_length, ask.doc_stride)


def _read(data: Data, ask: Ask) -> Questions:
    return read_questions(
        data,
        question_column=ask.text_column,
        context_column=ask.pair_column,
        answer_column=ask.label_column,
        where=ask.where,
    )


def _held_back(rows: Questions, ask: Ask) -> tuple[Questions, Questions]:
    """A tenth of the contexts with their questions, and the rest. Those that differ in case or signs are one."""
    contexts = list(dict.fromkeys(rows.contexts))
    numbers = same_inputs(contexts)
    count = len(np.unique(numbers))
    if count < 2:
        raise UserError(
            f"{ask.data}: all questions are about one context, so none can be held back for validation; "
            "give a file of their own (--validation)."
        )
    order = np.random.default_rng(ask.seed).permutation(count)
    chosen = np.isin(numbers, order[: max(1, round(VALIDATION_SHARE * count))])
    held = {context for context, is_held in zip(contexts, chosen, strict=True) if is_held}
    inside = np.array([context in held for context in rows.contexts])
    return rows.subset(np.flatnonzero(inside)), rows.subset(np.flatnonzero(~inside))


def _pair(item: Any) -> tuple[str, str]:
    if isinstance(item, Mapping):
        item = item.get("question"), item.get("context")
    pair = tuple(item) if isinstance(item, tuple | list) else ()
    if len(pair) != 2 or not all(isinstance(text, str) and text.strip() for text in pair):
        raise UserError(
            "The model reads a question and a context: give tuples (question, context), or a table with both columns, "
            f"not {str(item)[:60]!r}."
        )
    return pair[0], pair[1]


TASK = QuestionAnswering
