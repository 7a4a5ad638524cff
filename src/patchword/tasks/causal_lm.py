"""Causal language modelling: each token from those before it (Radford et al. 2018, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from patchword.data.loader import Batch, Examples, by_length
from patchword.data.pieces import SequenceExamples
from patchword.data.store import Sequences
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.models.family import Model
from patchword.models.trunks import Decoder
from patchword.nn.packing import Layout, Packed
from patchword.tasks.language_model import LanguageModel
from patchword.tasks.task import Ask, Compute, Prepared
from patchword.tasks.writing import Prompts, samples, written


class CausalExamples(SequenceExamples):
    """Sequences of token ids, each token but the last with the next one as its target.

    A batch holds them end to end; attention stays within each, so nothing leaks from one document to another.

    Args:
        sequences: documents in pieces, with their end tokens.
        tokenizer: says what stands before a text.
    """

    def __init__(self, sequences: Sequences, tokenizer: Tokenizer) -> None:
        self.sequences = sequences
        self.before = np.array(tokenizer.before, np.int64)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Tokens of each, with what stands before it."""
        return self.sequences.lengths(ids) + len(self.before)

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """Token ids and next tokens; nothing in it is random."""
        ids = ids[by_length(self.sequences.lengths(ids))]
        parts = [part for sequence in self.sequences.gather(ids) for part in (self.before, sequence)]
        tokens = torch.from_numpy(np.concatenate(parts).astype(np.int64))
        layout = Layout(self.lengths(ids).tolist())
        last = torch.zeros(len(tokens), dtype=torch.bool)
        last[layout.cu_seqlens[1:].long() - 1] = True
        at = torch.nonzero(~last).flatten()
        return Batch((Packed(tokens, layout),), tokens[at + 1], layout.lengths, at)


class CausalLM(LanguageModel):
    """Say the next word of a text."""

    name = "causal_lm"
    way_out = "next_token"
    trunk = Decoder

    @classmethod
    def examples(cls, sequences: Sequences, tokenizer: Tokenizer, ask: Ask, learning: bool) -> CausalExamples:
        """The same for learning and for evaluation."""
        return CausalExamples(sequences, tokenizer)

    @classmethod
    def check(cls, tokenizer: Tokenizer) -> None:
        """An end."""
        if not tokenizer.has("eos"):
            raise UserError(
                "Writing on needs a token that ends a text (eos), and this tokenizer has none. Take one that has it, "
                "or let one be learnt from the text."
            )

    @classmethod
    def frame(cls, tokenizer: Tokenizer) -> int:
        """What stands before a text; its end is in the store."""
        return len(tokenizer.before)

    @classmethod
    def end(cls, tokenizer: Tokenizer) -> int | None:
        """The end token, so that a model learns to end a text."""
        return tokenizer.id("eos")

    @classmethod
    def inputs(cls, items: Sequence[Any], reader: Any, ask: Ask) -> Examples:
        """Texts that are to be gone on with."""
        return Prompts([str(item) for item in items])

    def predict(self, model: Model, examples: Examples, compute: Compute) -> list[dict[str, Any]]:
        """`written`: how each goes on, as `generation_config.json` says."""
        return written(model, self.tokenizer, examples)

    def report(self, model: Model, prepared: Prepared, compute: Compute) -> dict[str, Any]:
        """Validation figures, and how held-out texts go on."""
        return super().report(model, prepared, compute) | {
            "samples": samples(model, self.tokenizer, prepared.validation)
        }


TASK = CausalLM
