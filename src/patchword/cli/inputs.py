"""Inputs without labels, as `predict`, `generate` and `embed` take them: sentences, or files of texts or pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from patchword.tasks.predictor import Predictor


def read_inputs(inputs: list[str], model: Predictor, **columns: str | None) -> tuple[list[Any], list[str]]:
    """What the model reads, and how each input is named to a person."""
    from patchword.data.sources import read_labelled

    if are_sentences(inputs, model):
        return list(inputs), list(inputs)
    rows = read_labelled(inputs, need_labels=False, **columns)
    items = list(rows.inputs)
    names = [item if isinstance(item, str) else str(origin) for item, origin in zip(items, rows.origins, strict=True)]
    return items, names


def are_sentences(inputs: list[str], model: Predictor) -> bool:
    """Whether all of them are texts themselves, not files of them."""
    return model.model.family.modality == "text" and all(_is_sentence(item) for item in inputs)


def _is_sentence(item: str) -> bool:
    """Anything that is no path and does not look like one."""
    if not item.strip():  # nothing, as text; as a path it would be this folder
        return True
    if any(character in item for character in "*?[") and " " not in item:
        return False
    try:
        return not Path(item).exists() and (" " in item or not Path(item).suffix) and not item.endswith("/")
    except OSError:  # too long for a path
        return True
