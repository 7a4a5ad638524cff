"""A model for a vocabulary that has got more words: each new one begins as the mean of what it was cut into."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from patchword.models.family import Model
from patchword.nn.config import ModelConfig


def grow(model: Model, config: ModelConfig, first: int, pieces: Sequence[Sequence[int]]) -> Model:
    """The same model with a row more in the word table and in the scores of words, for each new word.

    Hewitt 2021: words that begin at random can take away the probability of all others; the mean of old ones can not.

    Args:
        model: for the old vocabulary; whatever has a row for each word grows.
        config: its config with the new `vocab_size`.
        first: id of the first new word.
        pieces: ids of what each new word was cut into.
    """
    with torch.device(next(model.parameters()).device):
        grown = Model(model.family, config, model.way_out, model.labels, model.problem)
    grown.generation = model.generation
    old = model.tensors()
    with torch.no_grad():
        for name, tensor in grown.tensors().items():
            if tensor.shape == old[name].shape and name not in _by_word(model):
                tensor.copy_(old[name])
                continue
            tensor[: len(old[name])] = old[name]
            for number, ids in enumerate(pieces):
                tensor[first + number] = old[name][list(ids)].mean(0)
    return grown


def _by_word(model: Model) -> set[str]:
    """Tensors that have a row for each word."""
    words = getattr(model.config, "vocab_size", None)
    names = {name for name, tensor in model.tensors().items() if len(tensor.shape) and len(tensor) == words}
    return {name for name in names if "words" in name or name.startswith("head.")}
