"""One token after another: the best, or a draw from the good ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from patchword.data.shuffle import mix
from patchword.generation.processors import processors
from patchword.generation.settings import Generation, complete
from patchword.generation.writer import Writer


def write_tokens(
    writer: Writer,
    how: Generation,
    ends: Collection[int],
    stopped: Callable[[list[int]], bool] = lambda tokens: False,
    told: Callable[[int, int], None] = lambda row, token: None,
    numbers: Sequence[int] | None = None,
) -> list[list[int]]:
    """Write until each text ends, in an end token, a stop, or where the writer has no more room for it.

    Texts that have ended are computed no further.

    Args:
        writer: at the beginning of the texts.
        how: how a token is chosen; what it leaves open is as the model's folder says.
        ends: ids of end tokens.
        stopped: whether new tokens so far are to be the last.
        told: called with (index of the text, token) as they are written.
        numbers: of the texts; with `how.seed` a text's number fixes what is drawn. Their indices where not given.

    Returns:
        The new tokens of each text, an end token included.
    """
    how = complete(how, writer.model.generation)
    change = processors(how, ends, writer.logits.shape[1])
    numbers = range(len(writer.history)) if numbers is None else numbers
    generators = [torch.Generator().manual_seed(int(mix(how.seed or 0, number))) for number in numbers]
    written: list[list[int]] = [[] for _ in writer.history]
    running = list(range(len(written)))
    while True:
        scores = writer.logits
        for processor in change:
            scores = processor(scores, writer)
        tokens = _choose(scores, how, [generators[row] for row in running])
        for row, token in zip(running, tokens, strict=True):
            written[row].append(token)
            told(row, token)
        going_on = [
            n
            for n, (row, token) in enumerate(zip(running, tokens, strict=True))
            if token not in ends and len(written[row]) < writer.room[n] and not stopped(written[row])
        ]
        if not going_on:
            return written
        writer.select(going_on)
        running = [running[n] for n in going_on]
        writer.write([tokens[n] for n in going_on])


def _choose(logits: Tensor, how: Generation, generators: list[torch.Generator]) -> list[int]:
    if not how.temperature:
        best: list[int] = logits.argmax(-1).tolist()
        return best
    # The best score is 0 first: divided by a small temperature it would be no number any more.
    logits = (logits - logits.max(-1, keepdim=True).values) / how.temperature
    chances = limited(logits, how).softmax(-1).cpu()
    return [
        int(torch.multinomial(row, 1, generator=generator)) for row, generator in zip(chances, generators, strict=True)
    ]


def limited(logits: Tensor, how: Generation) -> Tensor:
    """Scores `[N, vocab_size]` with -inf for all tokens that are not to be drawn; the best one always can be.

    In the order, and by the comparisons, of transformers: `top_h`, `top_k`, `top_p`, `min_p`, `typical_p`,
    `epsilon_cutoff`, `eta_cutoff`.
    """
    if how.top_h is not None:
        best = logits.topk(min(100, logits.shape[-1]), dim=-1)
        log_chances = best.values.log_softmax(-1)
        information = -log_chances.exp() * log_chances.clamp(min=torch.finfo(logits.dtype).min)
        stays = information.cumsum(-1) <= how.top_h * information.sum(-1, keepdim=True)
        stays[:, 0] = True
        logits = logits.masked_fill(~torch.zeros_like(logits, dtype=torch.bool).scatter(-1, best.indices, stays), _NONE)
    if how.top_k:
        least = logits.topk(min(how.top_k, logits.shape[-1]), dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, _NONE)
    if how.top_p is not None and how.top_p < 1.0:
        ordered, order = logits.sort(dim=-1)
        beyond = ordered.softmax(-1).cumsum(-1) <= 1.0 - how.top_p
        beyond[:, -1] = False
        logits = logits.masked_fill(beyond.scatter(-1, order, beyond), _NONE)
    if how.min_p:
        chances = logits.softmax(-1)
        logits = logits.masked_fill(chances < how.min_p * chances.amax(-1, keepdim=True), _NONE)
    if how.typical_p is not None and how.typical_p < 1.0:
        log_chances = logits.log_softmax(-1)
        expected = -(log_chances * log_chances.exp()).nansum(-1, keepdim=True)
        distance, order = (-log_chances - expected).abs().sort(dim=-1)
        last = (logits.gather(-1, order).softmax(-1).cumsum(-1) < how.typical_p).sum(-1, keepdim=True)
        beyond = distance > distance.gather(-1, last.clamp(max=logits.shape[-1] - 1))
        beyond[:, 0] = False
        logits = logits.masked_fill(beyond.scatter(-1, order, beyond), _NONE)
    if how.epsilon_cutoff:
        logits = _from(logits, logits.new_tensor(how.epsilon_cutoff))
    if how.eta_cutoff:
        log_chances = logits.log_softmax(-1)
        entropy = -(log_chances.exp() * log_chances.clamp(min=torch.finfo(logits.dtype).min)).sum(-1, keepdim=True)
        least = logits.new_tensor(how.eta_cutoff)
        logits = _from(logits, torch.minimum(least, least.sqrt() * (-entropy).exp()))
    return logits


_NONE = -torch.inf


def _from(logits: Tensor, least: Tensor) -> Tensor:
    """Without tokens of a probability under `least`, but for the best."""
    rare = (logits.softmax(-1) < least) & (logits < logits.amax(-1, keepdim=True))
    return logits.masked_fill(rare, _NONE)
