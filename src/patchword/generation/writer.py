"""A model in the middle of writing: what was read is in a cache, one more token of each text at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from patchword.errors import UserError
from patchword.generation.settings import in_vocabulary
from patchword.models.family import Model
from patchword.models.heads import VocabularyHead
from patchword.models.trunks import Generative
from patchword.nn.cache import Cache
from patchword.nn.packing import Layout, Packed


def what_writes(model: Model) -> tuple[Generative, VocabularyHead]:
    """The trunk and the head of a model that writes.

    Raises:
        UserError: the model does not write.
    """
    trunk, head = model.trunk, model.head
    if not isinstance(trunk, Generative) or not isinstance(head, VocabularyHead):
        raise UserError(
            f"A {model.family.model_type} model with the way out '{model.way_out}' does not write text. Decoders and "
            "encoder-decoders that were pretrained do."
        )
    return trunk, head


def lay_out_for_writing(model: nn.Module) -> None:
    """Keep matrices column by column in memory; their shapes and values stay.

    A single token's product with a matrix reads all of it once, and the processor's threads share that work only where
    the outputs lie side by side: GPT-2 then writes one text a fifth faster on two cores, and 16 of them a tenth more
    slowly (`benchmarks/generation.py` has both).
    """
    for part in model.modules():
        if isinstance(part, nn.Linear):
            part.weight.data = part.weight.data.t().contiguous().t()


class Writer:
    """Texts that are being written, N of them; prompts of unequal length are read together, without padding.

    Args:
        model: with a `Generative` trunk and a `VocabularyHead`, in evaluation mode.
        prompts: token ids of each; equal lengths side by side are read fastest.
        max_new_tokens: that a text will have at most.
        max_length: tokens of a text at most with those that it begins with, where `max_new_tokens` is None.
        start: token that an encoder-decoder begins with, where it is not that of its config.

    Attributes:
        sources: `[N]` lists: the prompts.
        history: `[N]` lists: tokens of each text so far, the prompt (or the start token) included.
        begun: how many of them were there at the beginning, `[N]`.
        room: how many new ones each will have at most, `[N]`: as asked for, or as there are positions for.

    Raises:
        UserError: the model does not write, or a prompt is too long for it.
    """

    def __init__(
        self,
        model: Model,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int | None,
        max_length: int | None = None,
        start: int | None = None,
    ) -> None:
        trunk, head = what_writes(model)
        self.model, self.trunk, self.head = model, trunk, head
        device = next(model.parameters()).device
        longest = max(map(len, prompts))
        if longest > trunk.max_length:
            raise UserError(
                f"The longest prompt has {longest} tokens, but the model has positions for {trunk.max_length} only. "
                "Cut it."
            )
        packed = Packed(
            torch.tensor([token for prompt in prompts for token in prompt], device=device),
            Layout([len(prompt) for prompt in prompts], device),
        )
        beginning = trunk.begin(packed)
        if start is not None and beginning.memory is not None:
            start = in_vocabulary("decoder_start_token_id", start, len(head.scores.weight))
            first = torch.full_like(beginning.tokens.values, start)
            beginning = beginning._replace(tokens=Packed(first, beginning.tokens.layout))
        self.sources = [list(prompt) for prompt in prompts]
        self.history = [sequence.tolist() for sequence in beginning.tokens.sequences()]
        self.begun = [len(tokens) for tokens in self.history]
        positions = trunk.max_length
        if max_new_tokens is None and max_length is not None:
            if max_length <= max(self.begun):
                raise UserError(
                    f"max_length {max_length} leaves no room for a new token after {max(self.begun)}: give a larger "
                    "one, or --max-new-tokens."
                )
            positions = min(positions, max_length)
        wanted = positions if max_new_tokens is None else max_new_tokens
        self.room = [min(wanted, positions - begun) for begun in self.begun]
        if min(self.room) < 1:
            raise UserError(
                f"The longest prompt has {longest} tokens, which leaves no position of {trunk.max_length} for a new "
                "one. Cut it."
            )
        memory = beginning.memory
        capacity = max(begun + room for begun, room in zip(self.begun, self.room, strict=True))
        self.cache = Cache(len(trunk.decoder.layers), capacity, memory.layout.longest if memory else 0)
        self.logits = head.logits(trunk.decode(beginning.tokens, memory, self.cache).last()).float()
        """`[N, vocab_size]`: scores of each text's next token."""

    def write(self, tokens: Sequence[int]) -> None:
        """Add a token to each text."""
        before = [len(text) for text in self.history]
        for text, token in zip(self.history, tokens, strict=True):
            text.append(token)
        new = torch.tensor(tokens, device=self.logits.device)
        hidden = self.trunk.decode(Packed(new, Layout([1] * len(new), new.device, before)), None, self.cache)
        self.logits = self.head.logits(hidden.values).float()

    def select(self, rows: Sequence[int]) -> None:
        """Go on with other texts: the new n-th is what the `rows[n]`-th was."""
        if list(rows) == list(range(len(self.history))):
            return
        index = torch.tensor(rows, device=self.logits.device)
        self.cache.select(index)
        self.logits = self.logits[index]
        self.history = [list(self.history[row]) for row in rows]
        self.sources = [self.sources[row] for row in rows]
        self.begun = [self.begun[row] for row in rows]
        self.room = [self.room[row] for row in rows]
