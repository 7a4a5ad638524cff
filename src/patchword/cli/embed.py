"""`patchword embed`: one vector for each text or picture, and what is near what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchword.cli import options as o
from patchword.cli.inputs import read_inputs


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("embed")(embed)


def embed(
    folder: Annotated[str, typer.Argument(help="The model folder.")],
    inputs: Annotated[list[str], typer.Argument(help="Sentences; or files, folders or patterns.")],
    out: Annotated[Path | None, typer.Option(help="Write `input` and `vector` to this .parquet file.")] = None,
    pool: Annotated[
        str | None,
        typer.Option(
            help="mean, class (the first token), last, max, mean_sqrt_len or weighted_mean; "
            "what the folder (of sentence-transformers) says, else mean, where not given."
        ),
    ] = None,
    near: Annotated[
        str | None, typer.Option(help="Show what is nearest to this text, or to the picture at this path.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file --out.")] = False,
    top: Annotated[int | None, typer.Option(min=1, help="How many of the nearest (5).")] = None,
    text_column: o.TextColumn = None,
    image_column: o.ImageColumn = None,
    where: o.Where = None,
    device: o.Device = "auto",
) -> None:
    """Contextual vectors of texts or pictures.

    [dim]patchword embed runs/vit photos/ --out vectors.parquet        patchword embed runs/base a.csv --near late[/]
    """
    from dataclasses import replace

    from patchword.console import printable
    from patchword.data.outputs import refuse_output_over_inputs
    from patchword.data.tables import write_vectors
    from patchword.errors import UserError
    from patchword.tasks.neighbours import nearest
    from patchword.tasks.predictor import load
    from patchword.training.tracking import working

    if out is None and near is None:
        raise UserError("Nothing to do: give --out FILE.parquet to keep the vectors, or --near to look one up.")
    if top is not None and near is None:
        raise UserError("--top: only for --near. Leave it out.")
    if overwrite and out is None:
        raise UserError("--overwrite: only for --out. Leave it out.")
    if out is not None and out.suffix != ".parquet":
        raise UserError(f"--out {out}: vectors are written as .parquet.")
    if out is not None:
        refuse_output_over_inputs(out, {"the inputs": inputs, "the model": folder})
        if out.exists() and not overwrite:
            raise UserError(f"{out} is there already. --overwrite replaces it.")
    model = load(folder, device)
    items, names = read_inputs(inputs, model, text_column=text_column, image_column=image_column, where=where)
    with working("Embedding ...") as activity:
        model.compute = replace(model.compute, progress=activity.rows)
        vectors = model.features(items, pool)
    model.compute = replace(model.compute, progress=None)
    if out is not None:
        write_vectors(out, names, vectors)
        typer.echo(f"{len(names):,} vectors of {vectors.shape[1]} numbers: {out}")
    if near is not None:
        (query,), _ = read_inputs([near], model)
        for index, similarity in nearest(model.features([query], pool)[0], vectors, top or 5):
            typer.echo(f"{similarity:6.3f}  {printable(' '.join(names[index].split())[:150])}")
