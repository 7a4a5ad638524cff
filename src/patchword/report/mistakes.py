"""What drove a classifier's most confident mistakes: it reads those rows again, so it needs the run's data."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from torch import Tensor

from patchword.data.tokenizers import Tokenizer
from patchword.errors import Notice, UserError
from patchword.explain.attention import patch_map
from patchword.explain.saliency import gradient_x_input
from patchword.models.config import ImageConfig, PatchConfig
from patchword.models.family import Model
from patchword.nn.packing import Packed
from patchword.report.figures import plot_pictures
from patchword.report.page import Block, Figure, Paragraph, Table
from patchword.tasks.image_classification import ImageExamples
from patchword.tasks.labelled import LabelledExamples
from patchword.tasks.predictor import Predictor, load
from patchword.tasks.review import shortened
from patchword.tasks.text_classification import TextExamples
from patchword.training.prepare import ask_for, prepare
from patchword.training.run import RunConfig, RunFolder

SHOWN = 6
_LONGEST = 700  # characters of a text that is shown
_FOR, _AGAINST = "196, 80, 27", "31, 90, 150"  # red, green and blue of what speaks for what was said, and against it
_WORD = re.compile(r"\w+|[^\w\s]+")


def explained(folder: RunFolder, mistakes: Sequence[Mapping[str, Any]]) -> list[Block]:
    """The first of the mistakes with what drove them.

    Raises:
        UserError: the data are not there any more, or are others.
    """
    run = folder.read_config()
    model = load(folder.path, "cpu")
    held_out = _held_out(run, model)
    chosen = mistakes[:SHOWN]
    shown = held_out.shown()
    for mistake in chosen:
        row = mistake["row"]
        if (
            row >= len(held_out)
            or held_out.origins[row] != mistake["origin"]
            or shortened(shown[row]) != mistake["text"]
        ):
            raise UserError("The data have changed since the run, so its mistakes can not be read again.")
    if isinstance(held_out, ImageExamples):
        return [_pictures(model.model, held_out, chosen)]
    assert isinstance(held_out, TextExamples)
    return _texts(model.model, held_out, chosen)


def _held_out(run: RunConfig, model: Predictor) -> LabelledExamples:
    ask, config = ask_for(run), model.model.config
    if isinstance(config, ImageConfig):
        ask = replace(ask, tokens_per_image=config.tokens)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)  # was told when it learnt
        prepared = prepare(run, ask, model.reader, model.model.family, quiet=True)
    held_out = prepared.validation if prepared.test is None else prepared.test
    assert isinstance(held_out, LabelledExamples)
    return held_out


def with_origin(text: str, origin: str) -> Markup:
    """A row as a cell: what stands in it, and below, where it stands."""
    below = Markup('<div class="caption">{}</div>').format(origin)
    return Markup("{}{}").format(text, below) if text else Markup("{}").format(origin)


def judged(mistake: Mapping[str, Any]) -> Markup:
    """What a model said of a row, how sure it was, and what the row is."""
    said, sure, truth = mistake["said"], f"{100 * mistake['confidence']:.0f}\u00a0%", mistake["is"]
    return Markup("said <b>{}</b>, {}<br>is <b>{}</b>").format(said, sure, truth)


def _texts(model: Model, examples: TextExamples, mistakes: Sequence[Mapping[str, Any]]) -> list[Block]:
    rows = []
    for mistake in mistakes:
        scores, places = _saliency(model, examples, mistake["row"], _contrast(model, mistake))
        text = examples.texts[mistake["row"]]
        sides = [text] if isinstance(text, str) else list(text)
        most = max((float(np.abs(side).max()) for side in scores if len(side)), default=0.0)
        marked = [marked_text(*side, most) for side in zip(sides, places, scores, strict=True)]
        rows.append((with_origin(Markup("<br>").join(marked), mistake["origin"]), judged(mistake)))
    return [
        Paragraph(
            "Words on orange speak for what the model said, those on blue for the label that the row has: gradient "
            "times input of the difference of the two scores. It tells what a small change of a word's vector would "
            "do, and not always why the model decides."
        ),
        Table(("text", "the model"), rows),
    ]


def _contrast(model: Model, mistake: Mapping[str, Any]) -> Tensor:
    classes = torch.zeros(len(model.labels))
    classes[model.labels.index(mistake["said"])] = 1.0
    classes[model.labels.index(mistake["is"])] = -1.0
    return classes


def _saliency(
    model: Model, examples: TextExamples, row: int, classes: Tensor
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each text of a row, the scores of its tokens, `[n]`, and where they stand in it, `[n, 2]`.

    Of a text in several windows, those of the first.
    """
    parts, owners = examples.parts()
    (packed,) = parts.batch(np.array([np.searchsorted(owners, row)]), (0, 0)).inputs
    assert isinstance(packed, Packed)
    scores = gradient_x_input(model, packed, classes).numpy()
    tokenizer = examples.tokenizer
    text = examples.texts[row]
    places = [found for _, found in tokenizer.encode_with_places([text] if isinstance(text, str) else list(text))]
    inside = _sides(tokenizer, len(scores), [len(found) for found in places], examples, row)
    return [scores[side] for side in inside], [found[: len(side)] for found, side in zip(places, inside, strict=True)]


def _sides(tokenizer: Tokenizer, total: int, counts: list[int], examples: TextExamples, row: int) -> list[np.ndarray]:
    """At which of a row's tokens each of its texts stands."""
    if len(counts) == 1:
        return [np.arange(min(counts[0], total - examples.frame)) + tokenizer.single.starts(0)[0]]
    kept = [int(side.lengths(np.array([row]))[0]) for side in examples.sides]
    return [np.arange(count) + start for count, start in zip(kept, tokenizer.pair.starts(*kept), strict=True)]


def marked_text(text: str, places: np.ndarray, scores: np.ndarray, most: float) -> Markup:
    """A text whose words have a ground: orange for a sum of scores above 0, blue below, stronger for larger ones.

    Args:
        text: as it is; escaped here.
        places: where each token begins and ends, `[n, 2]`.
        scores: of each token, `[n]`.
        most: the size of score that has the full colour.
    """
    words = []
    for word in _WORD.finditer(text):
        inside = (places[:, 0] >= word.start()) & (places[:, 0] < word.end()) & (places[:, 0] < places[:, 1])
        words.append((word, float(scores[inside].sum())))
    out, at = Markup(""), 0
    for word, score in words:
        if word.end() > _LONGEST:
            return out + Markup("…")
        out += Markup("{}").format(text[at : word.start()])
        share = min(abs(score) / most, 1.0) if most > 0 else 0.0
        if share < 0.05:
            out += Markup("{}").format(word[0])
        else:
            out += Markup('<span style="background:rgba({}, {:.2f})">{}</span>').format(
                _FOR if score > 0 else _AGAINST, 0.6 * share, word[0]
            )
        at = word.end()
    return out + Markup("{}").format(text[at:])


def _pictures(model: Model, examples: ImageExamples, mistakes: Sequence[Mapping[str, Any]]) -> Block:
    pictures: list[np.ndarray] = []
    maps: list[np.ndarray | None] = []
    for mistake in mistakes:
        pixels = examples.images.fetch(np.array([mistake["row"]]))[0]
        low, high = pixels.min(), pixels.max()
        pictures.append(((pixels - low) / max(high - low, 1e-9)).transpose(1, 2, 0))
        maps.append(_map(model, torch.from_numpy(pixels)))
    titles = [f"said {m['said']}, {100 * m['confidence']:.0f} %\nis {m['is']}" for m in mistakes]
    caption = "The most confident mistakes"
    if maps[0] is not None:
        caption += (
            "; below each, how much of the class token comes from each patch, by attention rollout (Abnar and Zuidema "
            "2020): from where the model mixes its vectors, and not why it decides"
        )
    origins = "; ".join(str(m["origin"]) for m in mistakes)
    return Figure.of(plot_pictures(pictures, maps, titles), f"{caption}. From: {origins}.")


def _map(model: Model, pixels: Tensor) -> np.ndarray | None:
    """`patch_map`, for models that read patches after one class token."""
    config = model.config
    if not isinstance(config, PatchConfig) or config.tokens != 1 + config.grid[0] * config.grid[1]:
        return None
    return patch_map(model, pixels).numpy()
