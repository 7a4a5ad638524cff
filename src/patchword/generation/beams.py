"""Beam search: several texts are followed side by side, and the best whole one wins."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field

import torch

from patchword.errors import UserError
from patchword.generation.processors import processors
from patchword.generation.settings import Generation, complete
from patchword.generation.writer import Writer


@dataclass
class _Prompt:
    """One prompt's texts: those that go on, and the best that have ended, each with its score."""

    running: list[tuple[float, list[int]]]
    ended: list[tuple[float, list[int]]] = field(default_factory=list)


def write_beams(writer: Writer, how: Generation, ends: Collection[int]) -> list[list[int]]:
    """The best text of each prompt, by log-probability / length^penalty, as transformers searches for it.

    At each step every text is continued by every token; the best 2 x beams continuations are looked at: those of the
    best `beams` that end are kept aside, the best that do not end go on. A prompt is done when `beams` texts have ended
    and the best that goes on has, at its present length, no better score than the worst of them (`early_stopping`
    changes when).

    Args:
        writer: at the beginning of the texts.
        how: what it leaves open is as the model's folder says.
        ends: ids of end tokens.

    Returns:
        The new tokens of each prompt's text, an end token included.
    """
    how = complete(how, writer.model.generation)
    beams = how.beams or 1
    change = processors(how, ends, writer.logits.shape[1])
    penalty = _penalty(how)
    # The first step has one text a prompt; from then on there are `beams` of each.
    prompts = {row: _Prompt([(0.0, [])]) for row in range(len(writer.history))}
    done: dict[int, list[int]] = {}
    for step in range(max(writer.room)):
        log_chances = torch.log_softmax(writer.logits, -1)
        for processor in change:
            log_chances = processor(log_chances, writer)
        if how.renormalize_logits:
            log_chances = log_chances.log_softmax(-1)
        sources: list[int] = []
        tokens: list[int] = []
        first = 0
        for row, prompt in list(prompts.items()):
            count = len(prompt.running)
            so_far = log_chances.new_tensor([score for score, _ in prompt.running])
            scores = log_chances[first : first + count] + so_far[:, None]
            wanted = min(max(2, 1 + len(ends)) * beams, scores.numel())
            best = scores.flatten().topk(wanted)
            goes_on: list[tuple[float, list[int]]] = []
            picked: list[tuple[int, int]] = []
            for place, (score, index) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
                if score == -math.inf:
                    break
                beam, token = divmod(index, scores.shape[1])
                text = [*prompt.running[beam][1], token]
                if token in ends or len(text) == writer.room[first]:
                    if place < beams:
                        prompt.ended.append((score / len(text) ** penalty, text))
                elif len(goes_on) < beams:
                    goes_on.append((score, text))
                    picked.append((first + beam, token))
            prompt.ended = sorted(prompt.ended, key=lambda entry: -entry[0])[:beams]
            first += count
            if not goes_on and not prompt.ended:
                raise UserError("No token is left to write: the settings forbid all of them.")
            if not goes_on or _is_done(prompt, goes_on[0][0], step + 1, writer.room[first - count], how):
                done[row] = prompt.ended[0][1]
                del prompts[row]
                continue
            prompt.running = goes_on
            sources += [source for source, _ in picked]
            tokens += [token for _, token in picked]
        if not prompts:
            break
        writer.select(sources)
        writer.write(tokens)
    return [done[row] for row in range(len(done))]


def _is_done(prompt: _Prompt, best: float, length: int, longest: int, how: Generation) -> bool:
    penalty = _penalty(how)
    if len(prompt.ended) < (how.beams or 1):
        return False
    if how.early_stopping is True:
        return True
    if how.early_stopping == "never" and penalty > 0.0:
        length = longest
    return best / length**penalty <= prompt.ended[-1][0]


def _penalty(how: Generation) -> float:
    return 1.0 if how.length_penalty is None else how.length_penalty
