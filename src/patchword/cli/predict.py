"""`patchword predict`: predictions for one text, or for a file of them."""

from __future__ import annotations

import csv
import sys
from typing import Annotated, Any

import typer

from patchword.cli import options as o
from patchword.cli.inputs import read_inputs


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("predict")(predict)


def predict(
    folder: Annotated[str, typer.Argument(help="The model folder.")],
    inputs: Annotated[list[str], typer.Argument(help="Sentences; or files, folders or patterns.")],
    text_column: o.TextColumn = None,
    pair_column: o.PairColumn = None,
    image_column: o.ImageColumn = None,
    where: o.Where = None,
    device: o.Device = "auto",
) -> None:
    """Predict, as csv on standard output.

    [dim]patchword predict runs/tickets new.csv > out.csv        patchword predict runs/tickets "one sentence"[/dim]
    """
    from patchword.tasks.predictor import load

    model = load(folder, device)
    columns = {"text_column": text_column, "pair_column": pair_column, "image_column": image_column, "where": where}
    pairs = model.model.family.modality == "text" and model.pairs is not False
    texts, shown = read_inputs(inputs, model, pairs=pairs, **columns)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    predictions = model.predict(texts)
    for number, (item, prediction) in enumerate(zip(shown, predictions, strict=True)):
        chances = prediction.pop("probabilities", {})
        cells = {name: _cell(value) for name, value in prediction.items()}
        cells |= {f"p({name})": _cell(value) for name, value in chances.items()}
        if number == 0:
            writer.writerow([model.model.family.modality, *cells])
        writer.writerow([item, *cells.values()])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(value) if isinstance(value, list) else str(value)
