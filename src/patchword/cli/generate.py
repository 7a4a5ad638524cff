"""`patchword generate`: a model goes on with a text, or answers it."""

from __future__ import annotations

import csv
import sys
from typing import Annotated, Any

import typer

from patchword.cli import options as o
from patchword.cli.inputs import read_inputs

_HOW = "How it writes"


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("generate")(generate)


def generate(
    folder: Annotated[str, typer.Argument(help="The model folder.")],
    prompts: Annotated[list[str], typer.Argument(help="Beginnings of texts; or files of them.")],
    max_new_tokens: Annotated[int, typer.Option(help="Tokens to write at most.", rich_help_panel=_HOW)] = 64,
    temperature: Annotated[
        float, typer.Option(help="Draw tokens, more boldly the higher; 0 takes the best.", rich_help_panel=_HOW)
    ] = 0.0,
    top_k: Annotated[int | None, typer.Option(help="Draw from so many best tokens.", rich_help_panel=_HOW)] = None,
    top_p: Annotated[
        float, typer.Option(help="Draw from the best tokens that have this share together.", rich_help_panel=_HOW)
    ] = 1.0,
    min_p: Annotated[
        float, typer.Option(help="Draw from tokens with this share of the best one's.", rich_help_panel=_HOW)
    ] = 0.0,
    beams: Annotated[int, typer.Option(help="Follow so many texts; the best wins.", rich_help_panel=_HOW)] = 1,
    length_penalty: Annotated[
        float, typer.Option(help="With beams: above 0 favours long texts.", rich_help_panel=_HOW)
    ] = 1.0,
    repetition_penalty: Annotated[
        float, typer.Option(help="Above 1 avoids words that stand there already.", rich_help_panel=_HOW)
    ] = 1.0,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text.", rich_help_panel=_HOW)] = None,
    text_column: o.TextColumn = None,
    where: o.Where = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
) -> None:
    """Write: one text token by token, several as csv on standard output.

    [dim]patchword generate runs/gpt "Once upon"        patchword generate runs/t5 new.csv --beams 4 > out.csv[/dim]
    """
    how: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "beams": beams,
        "length_penalty": length_penalty,
        "repetition_penalty": repetition_penalty,
        "stop": tuple(stop or ()),
        "seed": seed,
    }
    from patchword.generation.settings import read_settings

    read_settings(how)  # a wrong one is told before a large model is read

    from patchword.generation.writer import what_writes
    from patchword.tasks.predictor import load

    model = load(folder, device)
    what_writes(model.model)
    texts, _ = read_inputs(prompts, model, text_column=text_column, where=where)
    if len(texts) == 1:
        shown = ""
        begun = texts[0] if model.goes_on else ""

        def show(text: str) -> None:
            nonlocal shown
            sys.stdout.write((begun + text)[len(shown) :])
            sys.stdout.flush()
            shown = begun + text

        show(model.generate(texts, told=show, **how)[0])
        sys.stdout.write("\n")
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["text", "written"])
    writer.writerows(zip(texts, model.generate(texts, **how), strict=True))
