"""Questions with windows of their contexts, as a model reads them; and the way back from tokens to text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from patchword.data.loader import Batch, Examples
from patchword.data.squad import Questions
from patchword.data.tokenizers import Tokenizer
from patchword.tasks.framed import framed
from patchword.tasks.windows import windows

LONGEST_QUESTION = 64
"""Tokens of a question that would else take more than half of the place (Devlin et al. 2018, their code)."""


class QuestionWindows(Examples):
    """An example is a question and a window of its context, in the tokenizer's frame for a pair.

    A target is the token that the first answer begins with and the one that it ends with, counted from the sequence's
    first token; both are 0 where the window does not hold the whole answer (Devlin et al. 2018, section 4.3).

    Args:
        questions: with their contexts, and answers where they are known.
        tokenizer: makes the ids.
        max_length: tokens of a window at most, question and special ones included.
        doc_stride: tokens from the beginning of a window to that of the next; half of a window where it is longer.

    Attributes:
        owners: the question of each window, `[windows]`, ascending.
        begins, ends: the first token of each window within its context, and the one after the last.
        targets: `[windows, 2]`.
    """

    def __init__(self, questions: Questions, tokenizer: Tokenizer, max_length: int, doc_stride: int = 128) -> None:
        self.questions, self.tokenizer = questions, tokenizer
        space = max_length - len(tokenizer.pair)
        asked = tokenizer.encode(questions.questions)
        cut = [len(ids) > max(1, space // 2) for ids in asked]
        most = max(1, min(LONGEST_QUESTION, space // 2))
        self.asked = [ids[:most] if long else ids for ids, long in zip(asked, cut, strict=True)]
        numbers: dict[str, int] = {}
        self.context_of = np.array([numbers.setdefault(text, len(numbers)) for text in questions.contexts], np.int64)
        self.read = tokenizer.encode_with_places(list(numbers))
        owners, begins, ends, targets, lost = [], [], [], [], 0
        for number, question in enumerate(self.asked):
            ids, offsets = self.read[self.context_of[number]]
            answer = token_span(offsets, questions.answers[number])
            inside = False
            room = max(1, space - len(question))
            # Windows that do not overlap would cut answers in two.
            stride = doc_stride if doc_stride < room else max(1, room // 2)
            for begin, end in windows(len(ids), room, stride, even=False):
                target = (0, 0)
                if answer is not None and begin <= answer[0] and answer[1] < end:
                    shift = self.first_of_context(number) - begin
                    target, inside = (answer[0] + shift, answer[1] + shift), True
                owners.append(number)
                begins.append(begin)
                ends.append(end)
                targets.append(target)
            lost += bool(questions.answers[number]) and not inside
        self.owners, self.begins, self.ends = (np.array(part, np.int64) for part in (owners, begins, ends))
        self.targets = np.array(targets, np.int64).reshape(-1, 2)
        self.facts: Mapping[str, Any] = {"windows": len(owners), "max_length": max_length, "padding": 0.0}
        self.notes: tuple[str, ...] = (
            f"{len(questions):,} questions in {len(owners):,} windows of {max_length} tokens at most; "
            f"{np.mean(self.targets[:, 1] == 0):.0%} of the windows hold no answer. Packed end to end, 0.0 % padding.",
        )
        if any(cut):
            self.notes += (f"{sum(cut):,} questions are cut at {most} tokens.",)
        if lost:
            self.notes += (f"{lost:,} answers fit into no window, or are no whole tokens, and are not learnt.",)

    def __len__(self) -> int:
        return len(self.owners)

    def first_of_context(self, number: int) -> int:
        """Where a question's context begins in its sequences."""
        return self.tokenizer.pair.starts(len(self.asked[number]), 0)[1]

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Tokens of each window, question and frame included."""
        asked = np.array([len(self.asked[number]) for number in self.owners[ids]], np.int64)
        return asked + self.ends[ids] - self.begins[ids] + len(self.tokenizer.pair)

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """Token ids with their segments, and targets, in the order of `ids`; nothing is random."""
        pairs = [
            (self.asked[number], self.read[self.context_of[number]][0][begin:end])
            for number, begin, end in zip(self.owners[ids], self.begins[ids], self.ends[ids], strict=True)
        ]
        packed = framed(self.tokenizer, self.tokenizer.pair, pairs)
        return Batch((packed,), torch.from_numpy(self.targets[ids]), packed.layout.lengths)

    def characters(self, number: int, first: int, last: int) -> tuple[int, int]:
        """Where tokens `first` to `last` of a question's context stand in it, without the spaces around them."""
        _, offsets = self.read[self.context_of[number]]
        context = self.questions.contexts[number]
        start, end = int(offsets[first, 0]), int(offsets[last, 1])
        while start < end and context[start].isspace():
            start += 1
        while start < end and context[end - 1].isspace():
            end -= 1
        return start, end


def token_span(offsets: np.ndarray, answers: Sequence[tuple[str, int]]) -> tuple[int, int] | None:
    """The first and the last token of the first answer; None where there is none.

    Args:
        offsets: characters at which each token begins and ends, `[tokens, 2]`.
        answers: with the index of their first character.
    """
    if not answers:
        return None
    text, start = answers[0]
    end = start + len(text.rstrip())
    start += len(text) - len(text.lstrip())
    inside = np.flatnonzero((offsets[:, 1] > start) & (offsets[:, 0] < end))
    return (int(inside[0]), int(inside[-1])) if len(inside) else None
