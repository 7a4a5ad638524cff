"""`patchword predict`: predictions for one text, or for a file of them."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from patchword.cli import options as o


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("predict")(predict)


def predict(
    folder: Annotated[str, typer.Argument(help="The model folder.")],
    inputs: Annotated[list[str], typer.Argument(help="Sentences; or files, folders or patterns.")],
    text_column: o.TextColumn = None,
    image_column: o.ImageColumn = None,
    where: o.Where = None,
    device: o.Device = "auto",
) -> None:
    """Predict, as csv on standard output.

    [dim]patchword predict runs/tickets new.csv > out.csv        patchword predict runs/tickets "one sentence"[/dim]
    """
    from patchword.data.sources import read_labelled
    from patchword.tasks.predictor import load

    model = load(folder, device)
    columns: dict[str, Any] = {"text_column": text_column, "image_column": image_column, "where": where}
    if all(_is_sentence(item) for item in inputs) and model.model.family.modality == "text":
        texts: list[Any] = list(inputs)
        shown = texts
    else:
        rows = read_labelled(inputs, need_labels=False, **columns)
        texts = list(rows.inputs)
        shown = [
            item if isinstance(item, str) else str(origin) for item, origin in zip(texts, rows.origins, strict=True)
        ]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    predictions = model.predict(texts)
    for number, (item, prediction) in enumerate(zip(shown, predictions, strict=True)):
        chances = prediction.pop("probabilities", {})
        cells = {name: _cell(value) for name, value in prediction.items()}
        cells |= {f"p({name})": _cell(value) for name, value in chances.items()}
        if number == 0:
            writer.writerow([model.model.family.modality, *cells])
        writer.writerow([item, *cells.values()])


def _is_sentence(item: str) -> bool:
    """Anything that is no path and does not look like one."""
    if any(character in item for character in "*?[") and " " not in item:
        return False
    try:
        return not Path(item).exists() and (" " in item or not Path(item).suffix) and not item.endswith("/")
    except OSError:  # too long for a path
        return True


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(value) if isinstance(value, list) else str(value)
