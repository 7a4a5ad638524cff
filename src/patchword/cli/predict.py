"""`patchword predict`: predictions for one text, or for files of any length."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from patchword.cli import options as o
from patchword.cli.inputs import are_sentences, refuse_for_sentences, sentences


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("predict")(predict)


def predict(
    folder: Annotated[str, typer.Argument(help="The model folder.")],
    inputs: Annotated[list[str], typer.Argument(help="Sentences; or files, folders or patterns.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Write .csv, .tsv, .jsonl or .parquet. Interrupted, the same command goes on."),
    ] = None,
    probabilities: Annotated[bool, typer.Option(help="Also the probability of each class.")] = True,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="No prediction for rows that can not be read; column `error` says why.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file --out.")] = False,
    text_column: o.TextColumn = None,
    pair_column: o.PairColumn = None,
    image_column: o.ImageColumn = None,
    where: o.Where = None,
    image_size: o.ImageSize = None,
    device: o.Device = "auto",
    precision: o.UsePrecision = "fp32",
    quiet: o.Quiet = False,
) -> None:
    """Predict: all columns that are there, then the predictions; as csv on standard output, or in a file.

    [dim]patchword predict runs/tickets new.csv --out out.parquet    patchword predict runs/tickets "one sentence"[/dim]
    """
    from patchword.data.row_file import Column, check_can_be_written, encode
    from patchword.errors import UserError
    from patchword.tasks.file_prediction import flat, refuse_no_probabilities, rounded, write_predictions
    from patchword.tasks.predictor import load

    if out is not None:
        check_can_be_written(out, overwrite)
    model = load(folder, device, precision, image_size)
    if are_sentences(inputs, model):
        refuse_for_sentences(
            inputs,
            out=out,
            skip_bad=skip_bad,
            overwrite=overwrite,
            text_column=text_column,
            pair_column=pair_column,
            image_column=image_column,
            where=where,
        )
        items = sentences(inputs, model)
        named = [dict(zip(("text", "pair"), item, strict=True)) if model.pairs else {"text": item} for item in items]
        predictions = model.predict(items)
        if not probabilities:
            refuse_no_probabilities(predictions[0], model.task)
        rows = [cells | flat(found) for cells, found in zip(named, predictions, strict=True)]
        names = [name for name in rows[0] if probabilities or not name.startswith("p(")]
        columns = [Column(name, frozenset()) for name in names]
        sys.stdout.write(encode(".csv", columns, rounded(rows), header=True).decode())
        return
    if overwrite and out is None:
        raise UserError("--overwrite: only for --out. Leave it out.")
    prediction = model.file_prediction(
        inputs,
        probabilities=probabilities,
        skip_bad=skip_bad,
        text_column=text_column,
        pair_column=pair_column,
        image_column=image_column,
        where=where,
    )
    if not quiet:
        for note in prediction.notes:
            typer.echo(note, err=True)
    if out is None:
        columns = prediction.columns()
        for number, (rows, _) in enumerate(prediction.chunks(0, ".csv")):
            sys.stdout.write(encode(".csv", columns, rows, header=number == 0).decode())
        return
    try:
        with _progress(quiet) as progress:
            done = write_predictions(prediction, out, overwrite=overwrite, progress=progress)
    except KeyboardInterrupt:
        typer.echo(f"\npatchword: interrupted. The same command goes on with {out} where it was.", err=True)
        raise typer.Exit(130) from None
    if not quiet:
        typer.echo(str(done), err=True)


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Report rows done, rows a second and the time left: a bar on a terminal, and lines on any other output."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from patchword.training.tracking import console, working

    if not console.is_terminal:
        with working("Predicting ...", quiet) as activity:
            first: int | None = None  # rows that an earlier command has predicted

            def report(done: int, total: int) -> None:
                nonlocal first
                first = done if first is None else first
                activity.rows(done, total, (done - first) / max(total - first, 1))

            yield report
        return
    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("rows"),
        TextColumn("{task.fields[rate]}"),
        TextColumn("eta"),
        TimeRemainingColumn(),
        console=console,
        disable=quiet,
    )
    with bar:
        task = bar.add_task("", total=None, rate="")

        def show(done: int, total: int) -> None:
            speed = bar.tasks[0].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:,.0f} rows/s" if speed else "")

        yield show
