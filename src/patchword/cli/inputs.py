"""Inputs without labels, as `predict`, `generate` and `embed` take them: sentences, or files of texts or pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchword.errors import UserError

if TYPE_CHECKING:
    from patchword.tasks.predictor import Predictor


def read_inputs(
    inputs: list[str], model: Predictor, pairs: bool = False, **columns: Any
) -> tuple[list[Any], list[str]]:
    """What the model reads, and how each input is named to a person.

    Args:
        inputs: sentences, or files.
        model: whose columns are looked for in tables.
        pairs: whether an input can be two texts.
        columns: as a person named them.

    Raises:
        UserError: the files can not be read, or a sentence has no second one.
    """
    from patchword.data.sources import read_labelled

    if are_sentences(inputs, model):
        refuse_for_sentences(inputs, **columns)
        items = sentences(inputs, model) if pairs else list(inputs)
        return items, list(map(_shown, items))
    rows = read_labelled(inputs, need_labels=False, pairs=pairs, **model.columns(inputs, **columns))
    items = list(rows.inputs)
    named = zip(items, rows.origins, strict=True)
    return items, [str(origin) if isinstance(item, Path | bytes) else _shown(item) for item, origin in named]


def refuse_for_sentences(inputs: list[str], **options: Any) -> None:
    """Options that change nothing for sentences are a UserError, not left without effect."""
    if given := next((name for name, value in options.items() if value not in (None, False)), None):
        option = "--" + given.replace("_", "-")
        raise UserError(
            f"{option} is for files; {inputs[0][:60]!r} is a sentence, or a file that is not there. Leave {option} out."
        )


def _shown(text: str | tuple[str, str]) -> str:
    return text if isinstance(text, str) else " | ".join(text)


def sentences(inputs: list[str], model: Predictor) -> list[Any]:
    """Texts as the model reads them: two at a time where it reads pairs.

    Raises:
        UserError: a sentence has no second one.
    """
    if not model.pairs:
        return list(inputs)
    if len(inputs) % 2:
        raise UserError(
            "The model reads two texts together, such as a question and its context: give two for each, or a table."
        )
    return list(zip(inputs[::2], inputs[1::2], strict=True))


def are_sentences(inputs: list[str], model: Predictor) -> bool:
    """Whether all of them are texts themselves, not files of them."""
    return model.model.family.modality == "text" and all(_is_sentence(item) for item in inputs)


def _is_sentence(item: str) -> bool:
    """Anything that is no path and does not look like one."""
    if not item.strip():  # nothing, as text; as a path it would be this folder
        return True
    if any(character in item.rstrip("?") for character in "*?[") and " " not in item:
        return False
    try:
        return not Path(item).exists() and (" " in item or not Path(item).suffix) and not item.endswith("/")
    except OSError:  # too long for a path
        return True
