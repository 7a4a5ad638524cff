"""`patchword export`: a model as an ONNX file, checked against the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchword.cli import options as o


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("export")(export)


def export(
    folder: Annotated[str, typer.Argument(help="The model folder.")],
    onnx: Annotated[Path, typer.Option(help="The file to write. In the model's folder it has all beside it.")],
    int8: Annotated[bool, typer.Option("--int8", help="Linear layers in 8 bits.")] = False,
    features: Annotated[
        bool, typer.Option("--features", help="A vector for each token, not what the model has learnt to say.")
    ] = False,
    data: Annotated[
        list[str] | None, typer.Option(help="Labelled data on which the model and the file are evaluated.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file --onnx.")] = False,
    text_column: o.TextColumn = None,
    image_column: o.ImageColumn = None,
    label_column: o.LabelColumn = None,
    pair_column: o.PairColumn = None,
    where: o.Where = None,
) -> None:
    """Write a model as an ONNX file, run it with onnxruntime, and tell how near it is to the model.

    [dim]patchword export runs/tickets --onnx runs/tickets/model.onnx --int8 --data test.csv[/dim]
    """
    from patchword.tasks.export import export as write
    from patchword.training.tracking import console
    from patchword.training.verdict import number

    with console.status("Writing the file, and comparing it with the model ..."):
        done = write(
            folder,
            onnx,
            int8=int8,
            features=features,
            data=data,
            overwrite=overwrite,
            text_column=text_column,
            image_column=image_column,
            label_column=label_column,
            pair_column=pair_column,
            where=where,
        )
    typer.echo(f"{done.path}: {done.bytes / 1e6:,.1f} MB, {', '.join(done.inputs)} -> {', '.join(done.outputs)}")
    told = (
        f"Random inputs of random lengths: differs from the model by {done.difference:.2g} at most, "
        f"{done.mean_difference:.2g} on average, where numbers are as large as {done.largest:.2g}"
    )
    typer.echo(told + ("." if done.agreement is None else f"; {done.agreement:.1%} get the same class."))
    if done.metrics:
        width = max(map(len, done.metrics))
        typer.echo(f"{'':<{width}} {'model':<24} {onnx.name}")
        both = done.model_metrics, done.metrics
        for name, value in done.metrics.items():
            if not name.endswith(("_low", "_high")):
                shown = [f"{of[name]:,}" if isinstance(value, int) else number(of, name) for of in both]
                typer.echo(f"{name:<{width}} {shown[0]:<24} {shown[1]}")
    elif int8:
        typer.echo("Random inputs are not your data: --data FILE tells what the 8 bits cost on labelled data.")
