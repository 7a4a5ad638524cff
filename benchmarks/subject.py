"""A model and made-up data for the one training loop: any preset, at any size, with nothing to download."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from patchword.data.image_processor import ImageProcessor
from patchword.data.store import Sequences
from patchword.data.tokenizers import train_tokenizer
from patchword.errors import UserError
from patchword.explain.size import size_of
from patchword.models.config import ImageConfig
from patchword.models.family import Model, preset
from patchword.tasks.language_model import LanguageModel
from patchword.tasks.masked_lm import SHARE, MaskedLM
from patchword.tasks.precision import choose_precision
from patchword.tasks.task import Ask, Compute, Prepared, choose_device, task_named
from patchword.training.checkpoint import TrainState
from patchword.training.loop import Interrupted, train
from patchword.training.memory import keep_freed_memory
from patchword.training.optimizer import make_optimizer
from patchword.training.recipe import Recipe
from patchword.training.tracking import Tracker

_TEXT = "the quick brown fox jumps over a lazy dog while twelve boxing wizards sing of jade and quartz"


@dataclass
class Subject:
    """What a training loop needs, and what its model costs.

    Args:
        state, data, recipe, compute: as `train` takes them.
        flops_per_token: model FLOPs of a token that is learnt from.
    """

    state: TrainState
    data: Prepared
    recipe: Recipe
    compute: Compute
    flops_per_token: float

    def learn(self, steps: int, tracker: Tracker) -> None:
        """So many steps more of the real loop."""
        try:
            train(self.state, self.data, self.recipe, self.compute, tracker, None, 0, self.state.step + steps)
        except Interrupted:
            return
        raise AssertionError("the loop ended by itself")


def subject(
    name: str,
    folder: Path,
    *,
    length: int = 128,
    batch_tokens: int = 4096,
    rows: int = 4096,
    device: str = "auto",
    precision: str = "auto",
    sizes: Mapping[str, Any] | None = None,
    **recipe: Any,
) -> Subject:
    """A preset with random weights, on random tokens or noisy pictures.

    Args:
        name: of the preset.
        folder: for pictures.
        length: tokens of every text.
        batch_tokens: tokens a step.
        rows: texts of the corpus.
        device, precision: as `patchword pretrain` takes them.
        sizes: fields of the config that are to be others.
        recipe: fields of the recipe that are to be others.
    """
    keep_freed_memory()
    torch.manual_seed(0)
    on = choose_device(device)
    family, config = preset(name)
    config = config.model_copy(update={"dropout": 0.0, "attention_dropout": 0.0, **(sizes or {})})
    kind = task_named(family.objective, family)
    targets: float | None = None
    if isinstance(config, ImageConfig):
        pictures(folder, 4 * max(1, batch_tokens // config.tokens), config.image_size[0])
        ask = Ask(str(folder / "train"), str(folder / "validation"), tokens_per_image=config.tokens)
        data = kind.prepare(ask, ImageProcessor(size=config.image_size), lambda read: None)
    else:
        if not issubclass(kind, LanguageModel):
            raise UserError(f"{name} does not learn from text alone.")
        assert family.tokenizer is not None
        tokenizer = train_tokenizer([_TEXT] * 40, family.tokenizer, 300)
        random = np.random.default_rng(0)
        ordinary = np.flatnonzero(~tokenizer.is_special)
        piece = length - kind.frame(tokenizer)
        tokens = [random.choice(ordinary, piece).astype(np.int32) for _ in range(rows)]
        examples = kind.examples(Sequences.from_arrays(tokens), tokenizer, Ask("", max_length=length), True)
        data = Prepared(kind(tokenizer, np.ones(tokenizer.vocab_size)), examples, examples)
        targets = SHARE if issubclass(kind, MaskedLM) else None
    with torch.device(on):
        model = Model(family, config, kind.way_out, data.task.labels, data.task.problem)
    settings = Recipe(
        **{"steps": 1_000_000, "lr": 1e-4, "batch_tokens": batch_tokens, "precision": precision, **recipe}
    )
    _, autocast = choose_precision(precision, on)
    size = size_of(model, name, None if isinstance(config, ImageConfig) else length, targets=targets)
    state = TrainState(model, make_optimizer(model, settings))
    return Subject(state, data, settings, Compute(on, autocast), size.training_flops_per_token)


def pictures(folder: Path, count: int, side: int, classes: int = 4) -> None:
    """Noise as PNG files in folders of classes, to train and to validate on."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for part, number in (("train", count), ("validation", 2 * classes)):
        for i in range(number):
            place = folder / part / f"class-{i % classes}"
            place.mkdir(parents=True, exist_ok=True)
            pixels = generator.integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(pixels).save(place / f"{i}.png", compress_level=0)
