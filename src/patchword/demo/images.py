"""The demo's pictures: a small ViT that has seen the digits 0 to 4 learns 5 to 9 from few labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from patchword.data.atomic import write_json
from patchword.data.image_processor import ImageProcessor
from patchword.data.images import Images
from patchword.data.sources import Labelled, read_labelled
from patchword.demo.digits import DigitData
from patchword.explain.attention import patch_map
from patchword.models.config import ImageConfig
from patchword.models.config_file import read_json
from patchword.models.family import Model, families
from patchword.models.folder import describe, make_config, read_model, write_model
from patchword.study.labels import LabelCurve, label_efficiency
from patchword.tasks.image_classification import ImageClassification
from patchword.tasks.labels import LabelSet
from patchword.tasks.predictor import load
from patchword.tasks.probe import draws
from patchword.tasks.task import Ask, Compute, Prepared, choose_device
from patchword.training.checkpoint import TrainState, seed_everything
from patchword.training.loop import train
from patchword.training.optimizer import make_optimizer
from patchword.training.recipes import default_recipe
from patchword.training.stages import Result, finetune
from patchword.training.tracking import Tracker

SIZES: dict[str, Any] = {"depth": 4, "width": 64, "heads": 4, "hidden": 256, "image_size": (8, 8), "patch_size": 2}
"""A ViT for 8 x 8 pixels, with 4 x 4 patches and 0.2 million weights. vit-tiny has 5.4 million, too many for as many
runs as this takes."""
COUNTS = (5, 10, 25)
SEEDS = tuple(range(3))
PRETRAINED, UNTRAINED, PIXELS = "pretrained ViT", "untrained ViT", "pixel floor"
_PROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True)
class Maps:
    """Pictures `[n, 8, 8]` in [0, 1], their digits, and for each the share of every patch `[n, 4, 4]`."""

    pictures: np.ndarray
    digits: tuple[str, ...]
    shares: np.ndarray


def write_untrained(out: Path) -> Path:
    """A small ViT with random weights, as a model folder."""
    family = families()["vit"]
    torch.manual_seed(0)
    model = Model(family, make_config(family.config, SIZES, "the demo's ViT"), "class", ("0", "1", "2", "3", "4"))
    write_model(model, out)
    write_json(out / _PROCESSOR, ImageProcessor(size=SIZES["image_size"]).to_dict())
    return out


def stage_one(data: DigitData, start: Path, out: Path) -> Result:
    """Digits 0 to 4 from random weights, with the settings that pretraining has, in half of its passes."""
    width = describe(start).config.width
    recipe = default_recipe("pretrain", "image_classification", width, len(read_labelled(data.pretrain)))
    recipe = recipe.model_copy(update={"epochs": 15})
    with _one_thread():
        return finetune(start, data.pretrain, out=out, seeds=1, quiet=True, **recipe.model_dump(exclude_none=True))


@contextmanager
def _one_thread() -> Iterator[None]:
    """For a model whose products are so small that threads wait for each other longer than one computes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def few_labels(
    data: DigitData, starts: dict[str, Path], progress: Callable[[str, int], None] = lambda what, done: None
) -> dict[str, LabelCurve]:
    """Accuracy on digits 5 to 9 over the number of labels: every start fine-tuned alike, and the pixel floor.

    Each run is `patchword finetune` with its own defaults, but without a validation part: five labels have none to
    spare, so the last weights count. Nothing is chosen by a score.

    Args:
        data: pictures to draw labels from, and to test on.
        starts: name -> model folder.
        progress: called with what is being done, and 1 after each seed of each method.
    """
    pool, test = read_labelled(data.train), read_labelled(data.test)
    assert pool.labels is not None
    assert test.labels is not None
    label_set = LabelSet.find(pool.labels, "digit")
    targets, truth = label_set.encode(pool.labels, pool.origins), label_set.encode(test.labels, test.origins)
    curves = {}
    with _one_thread():
        for name, start in starts.items():
            right = np.zeros((len(COUNTS), len(SEEDS), len(truth)), bool)
            for s, seed in enumerate(SEEDS):
                for k, rows in enumerate(draws(targets, COUNTS, seed)):
                    learnt = _finetuned(start, pool.subset(rows), targets[rows], test, truth, label_set, seed)
                    right[k, s] = learnt == truth
                progress(name, 1)
            curves[name] = LabelCurve(name, COUNTS, right)
    floor = {PIXELS: (pixels(pool), pixels(test))}
    return curves | label_efficiency(floor, targets, truth, COUNTS, SEEDS, lambda: progress(PIXELS, 1))


def _finetuned(
    start: Path, rows: Labelled, targets: np.ndarray, test: Labelled, truth: np.ndarray, labels: LabelSet, seed: int
) -> np.ndarray:
    """Learn from a few rows; the classes then predicted for the test rows, `[R]`."""
    config = describe(start).config
    assert isinstance(config, ImageConfig)
    recipe = default_recipe("finetune", "image_classification", config.width, len(rows))
    recipe = recipe.model_copy(update={"evaluations": 1})
    compute = Compute(choose_device())
    seed_everything(seed)
    model = read_model(
        start,
        way_out="class",
        labels=labels.names,
        problem=labels.problem,
        device=compute.device,
        dropout=recipe.dropout,
        attention_dropout=recipe.attention_dropout,
    ).model
    reader = ImageProcessor.from_dict(read_json(start / _PROCESSOR))
    ask = Ask(data="", tokens_per_image=config.tokens)
    task = ImageClassification(labels)
    learnt, tested = task.examples(rows, reader, ask, targets), task.examples(test, reader, ask, truth)
    state = TrainState(model, make_optimizer(model, recipe))
    with Tracker(None, quiet=True) as tracker:
        train(state, Prepared(task, learnt, learnt), recipe, compute, tracker, None, seed)
    return task.logits(model, tested, compute).argmax(1)


def pixels(rows: Labelled) -> np.ndarray:
    """Pictures as numbers, `[n, 64]` from 0 to 1."""
    from PIL import Image

    paths = cast("Sequence[Path]", rows.inputs)
    return np.stack([np.asarray(Image.open(path).convert("L"), np.float32).ravel() / 255 for path in paths])


def attention_maps(base: Path, data: DigitData) -> Maps:
    """One picture of every digit, and where the class token of the pretrained ViT has its vector from (rollout)."""
    predictor = load(base)
    rows = [read_labelled(folder) for folder in (data.pretrain, data.test)]
    first: dict[str, tuple[Path, np.ndarray]] = {}
    for part in rows:
        assert part.labels is not None
        for path, digit, picture in zip(part.inputs, part.labels, pixels(part), strict=True):
            first.setdefault(str(digit), (Path(str(path)), picture.reshape(8, 8)))
    digits = tuple(sorted(first))
    assert isinstance(predictor.reader, ImageProcessor)
    images = Images([first[d][0] for d in digits], digits, predictor.reader)
    read = torch.from_numpy(images.fetch(np.arange(len(digits)))).to(predictor.compute.device)
    shares = [patch_map(predictor.model, picture).cpu().numpy() for picture in read]
    return Maps(np.stack([first[d][1] for d in digits]), digits, np.stack(shares))
