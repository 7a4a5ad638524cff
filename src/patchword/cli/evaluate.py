"""`patchword evaluate`: how good a model is on labelled data."""

from __future__ import annotations

from typing import Annotated

import typer

from patchword.cli import options as o


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    folder: Annotated[str, typer.Argument(help="The model folder.")],
    data: Annotated[list[str], typer.Argument(help="Labelled data that it has not seen.")],
    text_column: o.TextColumn = None,
    image_column: o.ImageColumn = None,
    label_column: o.LabelColumn = None,
    pair_column: o.PairColumn = None,
    where: o.Where = None,
    image_size: o.ImageSize = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    device: o.Device = "auto",
    precision: o.UsePrecision = "fp32",
) -> None:
    """Metrics on labelled data, with bootstrap 95 % intervals."""
    from dataclasses import replace
    from json import dumps

    from patchword.tasks.predictor import load
    from patchword.training.tracking import working
    from patchword.training.verdict import number

    columns = {
        "text_column": text_column,
        "image_column": image_column,
        "label_column": label_column,
        "pair_column": pair_column,
        "where": where,
    }
    with working("Evaluating ...") as activity:
        model = load(folder, device, precision, image_size)
        model.compute = replace(model.compute, progress=activity.rows)
        metrics = model.evaluate(data, **columns)
    if json:
        typer.echo(dumps(metrics, indent=2))
        return
    names = [name for name in metrics if not name.endswith(("_low", "_high"))]
    width = max(14, *map(len, names))
    for name in names:
        value = metrics[name]
        typer.echo(
            f"{name:<{width}} {value:,}" if isinstance(value, int) else f"{name:<{width}} {number(metrics, name)}"
        )
