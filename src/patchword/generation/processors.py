"""Scores of the next token, changed by the settings before one is chosen: in the order of transformers' `generate`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from patchword.generation.settings import Generation, in_vocabulary
from patchword.generation.writer import Writer
from patchword.nn.finite import finite

Processor = Callable[[Tensor, Writer], Tensor]
"""Scores `[N, vocab_size]` of the next token of each of a writer's texts -> changed ones."""


def processors(how: Generation, ends: Collection[int], vocab_size: int) -> list[Processor]:
    """What `how` asks for, after a look at whether the scores are finite.

    Args:
        how: complete.
        ends: ids of end tokens.
        vocab_size: of the model.
    """
    ends = [token for token in ends if 0 <= token < vocab_size]
    found: list[Processor] = [] if how.remove_invalid_values else [lambda scores, writer: finite(scores)]
    if how.sequence_bias:
        found.append(_biased(dict(how.sequence_bias), vocab_size))
    if (penalty := how.encoder_repetition_penalty) not in (None, 1.0):
        found.append(lambda scores, writer: _penalised(scores, writer.sources, 1.0 / penalty))
    if (repetition := how.repetition_penalty) not in (None, 1.0):
        found.append(lambda scores, writer: _penalised(scores, writer.history, repetition))
    if how.no_repeat_ngram_size:
        found.append(_no_repeated(how.no_repeat_ngram_size))
    if how.encoder_no_repeat_ngram_size:
        found.append(_none_of_sources(how.encoder_no_repeat_ngram_size))
    if how.bad_words_ids:
        bad = {words: -torch.inf for words in how.bad_words_ids if len(words) > 1 or words[0] not in ends}
        found += [_biased(bad, vocab_size)] if bad else []
    if ends and (how.min_new_tokens or how.min_length):
        found.append(_no_end_before(how, ends))
    if how.forced_bos_token_id is not None:
        first = in_vocabulary("forced_bos_token_id", how.forced_bos_token_id, vocab_size)
        found.append(_forced(lambda writer, n: len(writer.history[n]) == 1, [first]))
    if how.forced_eos_token_id is not None:
        last = [in_vocabulary("forced_eos_token_id", token, vocab_size) for token in how.forced_eos_token_id]
        found.append(_forced(_is_last, last))
    if how.remove_invalid_values:
        found.append(lambda scores, writer: scores.nan_to_num(0.0))
    if how.exponential_decay_length_penalty and ends:
        found.append(_decayed(*how.exponential_decay_length_penalty, ends))
    if how.suppress_tokens:
        found.append(_suppressed(list(how.suppress_tokens), lambda writer, n: True))
    if how.begin_suppress_tokens:
        forced = how.forced_bos_token_id is not None
        found.append(
            _suppressed(
                list(how.begin_suppress_tokens),
                lambda writer, n: _new(writer, n) == int(forced and writer.begun[n] == 1),
            )
        )
    return found


def _new(writer: Writer, n: int) -> int:
    """New tokens of a text so far."""
    return len(writer.history[n]) - writer.begun[n]


def _is_last(writer: Writer, n: int) -> bool:
    return _new(writer, n) == writer.room[n] - 1


def _penalised(scores: Tensor, texts: Sequence[Sequence[int]], penalty: float) -> Tensor:
    """Scores lower for tokens of the texts (Keskar et al. 2019, section 4.1); with a penalty under 1 higher."""
    scores = scores.clone()
    for row, text in zip(scores, texts, strict=True):
        there = torch.tensor(sorted(set(text)), device=row.device)
        row[there] = torch.where(row[there] < 0, row[there] * penalty, row[there] / penalty)
    return scores


def _biased(bias_of: dict[tuple[int, ...], float], vocab_size: int) -> Processor:
    single = torch.zeros(vocab_size)
    for words, bias in bias_of.items():
        if len(words) == 1:
            single[words[0]] = bias
    longer = [(list(words[:-1]), words[-1], bias) for words, bias in bias_of.items() if len(words) > 1]

    def processor(scores: Tensor, writer: Writer) -> Tensor:
        added = single.to(scores.device).expand_as(scores).clone()
        for row, text in zip(added, writer.history, strict=True):
            for before, last, bias in longer:
                if text[-len(before) :] == before:
                    row[last] += bias
        return scores + added

    return processor


def _no_repeated(size: int) -> Processor:
    def processor(scores: Tensor, writer: Writer) -> Tensor:
        scores = scores.clone()
        for row, text in zip(scores, writer.history, strict=True):
            if len(text) >= size:
                windows = np.lib.stride_tricks.sliding_window_view(np.array(text), size)
                again = (windows[:, :-1] == text[len(text) + 1 - size :]).all(1)
                row[windows[again, -1].copy()] = -torch.inf
        return scores

    return processor


def _none_of_sources(size: int) -> Processor:
    following: dict[int, dict[tuple[int, ...], list[int]]] = {}

    def of(source: Sequence[int]) -> dict[tuple[int, ...], list[int]]:
        """Its sequences of `size` - 1 tokens, and what comes after each."""
        if id(source) not in following:
            found = following[id(source)] = {}
            for at in range(len(source) + 1 - size):
                *before, last = source[at : at + size]
                found.setdefault(tuple(before), []).append(last)
        return following[id(source)]

    def processor(scores: Tensor, writer: Writer) -> Tensor:
        scores = scores.clone()
        for row, text, source in zip(scores, writer.history, writer.sources, strict=True):
            before = tuple(text[len(text) + 1 - size :]) if len(text) + 1 >= size else ()
            if len(before) == size - 1:
                row[of(source).get(before, [])] = -torch.inf
        return scores

    return processor


def _no_end_before(how: Generation, ends: list[int]) -> Processor:
    """`min_new_tokens` is over `min_length` where both are given."""

    def processor(scores: Tensor, writer: Writer) -> Tensor:
        if how.min_new_tokens is not None:
            early = [n for n in range(len(scores)) if _new(writer, n) < how.min_new_tokens]
        else:
            early = [n for n, text in enumerate(writer.history) if len(text) < (how.min_length or 0)]
        return _without(scores, early, ends)

    return processor


def _forced(when: Callable[[Writer, int], bool], tokens: list[int]) -> Processor:
    def processor(scores: Tensor, writer: Writer) -> Tensor:
        rows = [n for n in range(len(scores)) if when(writer, n)]
        if not rows:
            return scores
        scores = scores.clone()
        only = scores.new_full((scores.shape[1],), -torch.inf)
        only[tokens] = 0.0
        scores[rows] = only
        return scores

    return processor


def _decayed(start: int, factor: float, ends: list[int]) -> Processor:
    def processor(scores: Tensor, writer: Writer) -> Tensor:
        scores = scores.clone()
        for n, row in enumerate(scores):
            late = _new(writer, n) - start
            if late > 0:
                more = row[ends].abs() * (factor**late - 1)
                row[ends] += more.masked_fill(~row[ends].isfinite(), 0.0)
        return scores

    return processor


def _suppressed(tokens: list[int], when: Callable[[Writer, int], bool]) -> Processor:
    def processor(scores: Tensor, writer: Writer) -> Tensor:
        inside = [token for token in tokens if 0 <= token < scores.shape[1]]
        return _without(scores, [n for n in range(len(scores)) if when(writer, n)], inside)

    return processor


def _without(scores: Tensor, rows: list[int], tokens: list[int]) -> Tensor:
    if not rows or not tokens:
        return scores
    scores = scores.clone()
    scores[torch.tensor(rows)[:, None], torch.tensor(tokens)] = -torch.inf
    return scores
