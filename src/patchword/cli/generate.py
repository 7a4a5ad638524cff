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
    max_new_tokens: Annotated[
        int | None, typer.Option(help="Tokens to generate at most (64).", rich_help_panel=_HOW)
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Sample tokens, more evenly the higher; 0: the best (0).", rich_help_panel=_HOW)
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(help="Sample from so many best tokens; 0: from all.", rich_help_panel=_HOW)
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Sample from the best tokens that have this probability together.", rich_help_panel=_HOW),
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(help="Sample from tokens with this share of the best one's probability.", rich_help_panel=_HOW),
    ] = None,
    beams: Annotated[int | None, typer.Option(help="Number of beams (1).", rich_help_panel=_HOW)] = None,
    length_penalty: Annotated[
        float | None, typer.Option(help="With beams: above 0 favours long texts (1).", rich_help_panel=_HOW)
    ] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Above 1 avoids tokens that are there already (1).", rich_help_panel=_HOW)
    ] = None,
    no_repeat_ngram_size: Annotated[
        int | None, typer.Option(help="No sequence of so many tokens is generated twice.", rich_help_panel=_HOW)
    ] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End before this text.", rich_help_panel=_HOW)] = None,
    text_column: o.TextColumn = None,
    where: o.Where = None,
    seed: Annotated[
        int | None, typer.Option(help="Of what is drawn, with --temperature (0).", rich_help_panel=_HOW)
    ] = None,
    device: o.Device = "auto",
) -> None:
    """Write: one text token by token, several as csv on standard output.

    Settings that are not given are those of the folder's generation_config.json.

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
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "stop": stop or None,
        "seed": seed,
    }
    from patchword.generation.settings import complete, read_settings
    from patchword.generation.writer import what_writes
    from patchword.models.folder import find_folder, read_generation_config
    from patchword.tasks.predictor import load

    path = find_folder(folder)
    # A wrong one is reported before a large model is read.
    complete(read_settings(how), read_generation_config(path))
    model = load(path, device)
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
