"""From the scores of tokens to answers, and when to say that there is none (Devlin et al. 2018, section 4.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from patchword.data.squad import Questions
from patchword.tasks.question_windows import QuestionWindows
from patchword.tasks.squad_metrics import row_scores

BEST = 20
"""Beginnings, ends and answers that are compared in each window."""
LONGEST_ANSWER = 30
"""Tokens of an answer at most."""
LEAST_UNANSWERABLE = 20
"""Questions without an answer that a threshold is fitted on, at least."""


@dataclass(frozen=True)
class Found:
    """What a model finds for a question.

    Args:
        start, end: characters of the context.
        score: logit of the beginning plus that of the end.
        null: the same of the first token, which says that there is no answer: the least of all windows.
        confidence: share of this answer among the best, softmax of their scores.
    """

    start: int
    end: int
    score: float
    null: float
    confidence: float


def null_threshold(found: Sequence[Found], questions: Questions) -> float:
    """How far the score of no answer must exceed that of the best answer, for the best F1; 0 with too few questions.

    Args:
        found: for each question.
        questions: with their answers; at least `LEAST_UNANSWERABLE` of them have none, since on fewer the best is
            chance.
    """
    if questions.unanswerable < LEAST_UNANSWERABLE:
        return 0.0
    answers = [text[one.start : one.end] for one, text in zip(found, questions.contexts, strict=True)]
    golds = [[text for text, _ in gold] for gold in questions.answers]
    answered, silent = row_scores(answers, golds)[:, 1], row_scores([""] * len(golds), golds)[:, 1]
    leads = np.array([one.null - one.score for one in found])
    order = np.argsort(leads, kind="stable")
    # Of the first k in this order an answer is given, of the others none.
    totals = np.append(0.0, np.cumsum(answered[order])) + np.append(np.cumsum(silent[order][::-1])[::-1], 0.0)
    ordered = leads[order]
    edges = np.concatenate([ordered[:1] - 1, (ordered[1:] + ordered[:-1]) / 2, ordered[-1:] + 1])
    possible = np.flatnonzero(np.append(np.append(True, ordered[1:] > ordered[:-1]), True) & np.isfinite(edges))
    return float(edges[possible[np.argmax(totals[possible])]]) if len(possible) else 0.0


def best_spans(scores: np.ndarray) -> list[tuple[float, int, int]]:
    """The best answers of a window as (score, first token, last token), the best first.

    Args:
        scores: logits of beginning and end of the context's tokens, `[tokens, 2]`.
    """
    starts, ends = (np.argsort(-scores[:, side], kind="stable")[:BEST] for side in range(2))
    first, last = (part.ravel() for part in np.meshgrid(starts, ends, indexing="ij"))
    allowed = (last >= first) & (last - first < LONGEST_ANSWER)
    first, last = first[allowed], last[allowed]
    totals = scores[first, 0] + scores[last, 1]
    order = np.argsort(-totals, kind="stable")[:BEST]
    return [(float(totals[i]), int(first[i]), int(last[i])) for i in order]


def best_answer(examples: QuestionWindows, number: int, spans: list[tuple[float, int, int]], null: float) -> Found:
    """The best answer of a question that is no white space.

    Args:
        examples: with the question.
        number: of it.
        spans: the best of each of its windows, in tokens of its context.
        null: score of no answer.
    """
    spans = sorted(set(spans), key=lambda span: -span[0])[:BEST]
    for score, first, last in spans:
        start, end = examples.characters(number, first, last)
        if start < end:
            scores = np.array([null, *(span[0] for span in spans)])
            return Found(start, end, score, null, float(1 / np.exp(scores - score).sum()))
    return Found(0, 0, -np.inf, null, 0.0)


def nearest_sentence(question: str, context: str) -> str:
    """The line or sentence of a context that shares the most words with a question; the first of equals."""
    words = set(re.findall(r"\w+", question.lower()))
    sentences = [text.strip() for text in re.split(r"\n+|(?<=[.!?])\s+", context) if text.strip()]
    return max(sentences, key=lambda text: len(words & set(re.findall(r"\w+", text.lower()))), default="")
