"""One token after another: the best, or a draw from the good ones."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from patchword.data.shuffle import mix
from patchword.generation.settings import Generation
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
        how: how a token is chosen.
        ends: ids of end tokens.
        stopped: whether new tokens so far are to be the last.
        told: called with (index of the text, token) as they are written.
        numbers: of the texts; with `how.seed` a text's number fixes what is drawn. Their indices where not given.

    Returns:
        The new tokens of each text, an end token included.
    """
    numbers = range(len(writer.history)) if numbers is None else numbers
    generators = [torch.Generator().manual_seed(int(mix(how.seed, number))) for number in numbers]
    written: list[list[int]] = [[] for _ in writer.history]
    running = list(range(len(written)))
    while True:
        tokens = _choose(
            writer.penalised(writer.logits, how.repetition_penalty), how, [generators[row] for row in running]
        )
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
    if how.temperature == 0.0:
        best: list[int] = logits.argmax(-1).tolist()
        return best
    # The best score is 0 first: divided by a small temperature it would be no number any more.
    logits = (logits - logits.max(-1, keepdim=True).values) / how.temperature
    chances = limited(logits, how).softmax(-1).cpu()
    return [
        int(torch.multinomial(row, 1, generator=generator)) for row, generator in zip(chances, generators, strict=True)
    ]


def limited(logits: Tensor, how: Generation) -> Tensor:
    """Scores `[N, vocab_size]` with -inf for all tokens that are not to be drawn; the best one always can be."""
    if how.top_k is not None:
        least = logits.topk(min(how.top_k, logits.shape[-1]), dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if how.top_p < 1.0:
        ordered, order = logits.sort(dim=-1, descending=True)
        chances = ordered.softmax(-1)
        beyond = chances.cumsum(-1) - chances >= how.top_p
        logits = logits.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), -torch.inf)
    if how.min_p > 0.0:
        chances = logits.softmax(-1)
        logits = logits.masked_fill(chances < how.min_p * chances.max(-1, keepdim=True).values, -torch.inf)
    return logits
