"""What tasks have in common whose model writes."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch

from patchword.data.loader import Batch, Examples
from patchword.data.store import Sequences
from patchword.data.tokenizers import Tokenizer
from patchword.generation.settings import Generation
from patchword.generation.write import write
from patchword.models.family import Model


class Prompts(Examples):
    """Texts to be answered; they are read by the generator, not in batches of a loader.

    Args:
        texts: as they are.

    Attributes:
        facts: tokens of the texts, and dropped ones, where they have been counted.
    """

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.facts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.texts)

    def lengths(self, ids: np.ndarray) -> np.ndarray:
        """Not known before they are read."""
        raise TypeError("prompts are written to, not batched")

    def batch(self, ids: np.ndarray, key: tuple[int, int]) -> Batch:
        """Not what they are for."""
        raise TypeError("prompts are written to, not batched")


class _HasSequences(Protocol):
    sequences: Sequences


def written(model: Model, tokenizer: Tokenizer, examples: Examples) -> list[dict[str, Any]]:
    """`written` for each prompt, as the settings of the model's folder say: by the best next token if nothing else."""
    assert isinstance(examples, Prompts)
    with torch.inference_mode():
        texts = write(model.eval(), tokenizer, examples.texts, Generation())
    return [{"written": text} for text in texts]


def samples(model: Model, tokenizer: Tokenizer, examples: Any, count: int = 3) -> list[dict[str, Any]]:
    """Beginnings of held-out texts, and how the model goes on with them: drawn at temperature 0.8, top_p 0.9.

    The other settings are those of the base checkpoint's folder, but no beams.
    """
    held_out: _HasSequences = examples
    long = np.flatnonzero(held_out.sequences.lengths(np.arange(len(examples))) >= 16)[:count]
    prompts = [tokenizer.decode(ids[:8]) for ids in held_out.sequences.gather(long)]
    if not prompts:
        return []
    with torch.inference_mode():
        how = Generation(max_new_tokens=24, temperature=0.8, top_p=0.9, beams=1)
        texts = write(model.eval(), tokenizer, prompts, how)
    return [{"before": prompt, "written": text} for prompt, text in zip(prompts, texts, strict=True)]
