"""Stage 1 and stage 2: from what a person asks for to a finished model folder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pydantic

from patchword.data.files import Data, find
from patchword.data.outputs import refuse_output_over_inputs
from patchword.data.sources import modality
from patchword.errors import UserError
from patchword.models.family import Family, preset, presets
from patchword.models.folder import describe, find_folder
from patchword.nn.config import ModelConfig
from patchword.tasks.precision import choose_precision
from patchword.tasks.task import Ask, choose_device, task_named, tasks
from patchword.training.execute import Result, execute
from patchword.training.interruption import guarded
from patchword.training.loop import Watch
from patchword.training.options import Plan, asked, refuse_by_start, refuse_unread_settings
from patchword.training.recipe import Recipe
from patchword.training.recipes import default_recipe
from patchword.training.run import RunConfig, RunFolder, check_settings
from patchword.training.seeds import DEFAULT, FEW
from patchword.training.sizing import AUTO, choose, ladder
from patchword.training.tuning import RATES, head_rate


def pretrain(
    data: Data,
    *,
    model: str | None = None,
    start: str | Path | None = None,
    out: str | Path,
    task: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Result:
    """Stage 1: learn from unlabelled data, from random weights or from those of another model.

    Args:
        data: a file, a folder, a pattern or a list of them: text (.txt, .jsonl, .csv, .parquet), or images.
        model: a preset, "bert-mini" (`patchword presets`), to begin with random weights; "auto": an encoder of text
            (with `task="causal-lm"`, a decoder) of the size that ends with the lowest loss in `minutes`
            (`training/sizing.py`).
        start: what to go on from instead: a folder that patchword or `transformers` wrote, or a name on the Hugging
            Face hub. Its sizes and its tokenizer are kept.
        out: the folder to write; a Hugging Face model folder when done.
        task: by name; where not given, what the family's models are pretrained with ("masked-lm" for BERT).
        overwrite: replace another run in `out`.
        quiet: tell nothing.
        settings: fields of `RunConfig` (`vocab_size`, `max_length`, ...) and of `Recipe` (`minutes`, `lr`, ...).

    Raises:
        UserError: something can not be used as it is; the message says what, where, and what to do.
    """
    began = time.monotonic()
    stop_after = settings.pop("stop_after", None)
    check_settings(settings)
    if (model is None) == (start is None):
        raise UserError("Give a preset to begin anew (--model), or a folder to go on from (--from): one of the two.")
    if model is not None:
        kind, begin = preset(ladder(task).presets[0] if model == AUTO else model)[0], model
    else:
        folder = find_folder(str(start))
        kind, begin = describe(folder).family, str(folder.resolve())
    refuse_by_start(model is not None, str(model or start), settings)

    def settled(begin: str, batch_tokens: int | None = None) -> RunConfig:
        more = {"batch_tokens": settings.get("batch_tokens") or batch_tokens}
        return _settle("pretrain", begin, task or kind.objective, data, settings | more)

    if model == AUTO:
        _check_auto(data, settings)
    _refuse_inputs(out, data, start, settings)
    with RunFolder.create(Path(out), overwrite) as place, guarded(place):
        run = choose(settled, ladder(task), place, quiet, began) if model == AUTO else settled(begin)
        return _begin(run, place, quiet, stop_after, began)


def finetune(
    start: str | Path,
    data: Data,
    *,
    out: str | Path,
    task: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    watch: Watch | None = None,
    baselines: Path | None = None,
    **settings: Any,
) -> Result:
    """Stage 2: learn from few labels, beginning with pretrained weights.

    Args:
        start: a folder that patchword or `transformers` wrote, or a name on the Hugging Face hub.
        data: labelled texts (.jsonl, .csv, .parquet), or images (a folder for each class, or a table).
        out, overwrite, quiet, settings: as in `pretrain`.
        task: by name; where not given, what the data look like: text or image classification if like nothing else.
        watch: is told of each evaluation; what it raises ends the run.
        baselines: a file that keeps the scores of the baselines, where several runs on the same rows share them.

    Raises:
        UserError: something can not be used as it is; the message says what, where, and what to do.
    """
    began = time.monotonic()
    stop_after = settings.pop("stop_after", None)
    check_settings(settings)
    _refuse_inputs(out, data, start, settings)
    with RunFolder.create(Path(out), overwrite) as folder, guarded(folder):
        run = finetune_settings(start, data, task, **settings)
        return _begin(run, folder, quiet, stop_after, began, watch, baselines)


def finetune_settings(start: str | Path, data: Data, task: str | None = None, **settings: Any) -> RunConfig:
    """The complete settings of a run of `finetune`, defaults included; nothing is learnt or written.

    Raises:
        UserError: as `finetune` does.
    """
    folder = find_folder(start)
    refuse_by_start(False, str(start), settings)
    if task is None:
        kinds = [name for name, kind in tasks().items() if kind.reads == "labelled" and kind.recognises(data)]
        task = kinds[0] if kinds else f"{describe(folder).family.modality}-classification"
    return _settle("finetune", str(folder.resolve()), task, data, settings)


def resume(out: str | Path, *, quiet: bool = False, stop_after: int | None = None) -> Result:
    """Go on with a run that was interrupted, exactly as if it had not been.

    Args:
        out: its folder.
        quiet: tell nothing.
        stop_after: interrupt it again after so many steps.

    Raises:
        UserError: there is no such run, or it is finished, or its data have changed.
    """
    with RunFolder.reopen(Path(out)) as folder, guarded(folder):
        if folder.finished:
            raise UserError(f"The run in {out} is finished; there is nothing to go on with.")
        return execute(folder, folder.read_config(), folder.begun, quiet, stop_after)


def _begin(
    run: RunConfig,
    folder: RunFolder,
    quiet: bool,
    stop_after: int | None,
    began: float,
    watch: Watch | None = None,
    baselines: Path | None = None,
) -> Result:
    folder.write_config(run)
    return execute(folder, run, False, quiet, stop_after, watch, began, baselines)


def _refuse_inputs(out: str | Path, data: Data, start: str | Path | None, settings: Mapping[str, Any]) -> None:
    """No input is inside `out`, and `out` is not inside data that are read whole."""
    inputs = {"the data": data, "--validation": settings.get("validation"), "--test": settings.get("test")}
    others = {"the base checkpoint": start, "--tokenizer": settings.get("tokenizer")}
    refuse_output_over_inputs(out, inputs | others, folder=True, read_whole=inputs)


def _check_auto(data: Data, settings: dict[str, Any]) -> None:
    """Can a size be chosen?"""
    if given := [name for name in ("steps", "epochs") if settings.get(name) is not None]:
        raise UserError(f"--model {AUTO} chooses for a time: give --minutes, not --{given[0]}.")
    columns = {name: settings[name] for name in ("text_column", "image_column") if settings.get(name)}
    if modality(data, **columns) != "text":
        raise UserError(f"--model {AUTO} chooses among models of text. `patchword presets` lists those of pictures.")


def _settle(stage: str, start: str, task: str, data: Data, settings: dict[str, Any]) -> RunConfig:
    """The complete settings of a run from those that were given."""
    settings = {name: value for name, value in settings.items() if value is not None}
    wanted = asked(settings)
    recipe = {name: settings.pop(name) for name in list(settings) if name in Recipe.model_fields}
    family, config = preset(start) if start in presets() else _described(start, task)
    kind = task_named(task, family)
    parts = (data, settings["validation"]) if "validation" in settings else (data,)
    refuse_unread_settings(Plan(kind, family, config, parts, wanted))
    if modality(data, **{k: v for k, v in settings.items() if k in ("text_column", "image_column")}) != family.modality:
        raise UserError(f"{start} reads {family.modality}s, but {data} are not {family.modality}s.")
    for part in ("validation", "test"):
        if part in settings:
            find(settings[part])
    fields_of_ask = {field.name for field in fields(Ask)} - {"data"}
    labelled = kind.rows(Ask(data, **{name: value for name, value in settings.items() if name in fields_of_ask}))
    rows = 0 if labelled is None else len(labelled)
    default = default_recipe(stage, kind.name, config.width, rows, start not in presets(), family.recipe)
    if default.dropout is None:
        default = default.model_copy(update={"dropout": getattr(config, "dropout", 0.0)})
    by_chance = stage == "finetune" and kind.reads == "labelled" and kind.new_head and rows < FEW
    fit_seeds = by_chance and "seeds" not in settings and "minutes" in recipe
    seeds = settings.pop("seeds", DEFAULT if by_chance else 1)
    given = set(settings)
    try:
        run = RunConfig(
            stage=stage,
            start=start,
            task=kind.name,
            data=_absolute(data),
            **{name: _absolute(settings.pop(name)) for name in ("validation", "test") if name in settings},
            seeds=seeds,
            fit_seeds=fit_seeds,
            recipe=_recipe(default, recipe, seeds > 1 and kind.cross_validates and "validation" not in given),
            **settings,
        )
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise UserError(f"{name or 'settings'}: {problem['msg'].removeprefix('Value error, ')}.") from error
    # What was found to be fast is written down: a resume computes in the same type, however busy the machine is then.
    precision, _ = choose_precision(run.recipe.precision, choose_device(run.device))
    return run.model_copy(update={"recipe": run.recipe.model_copy(update={"precision": precision})})


def _described(start: str, task: str) -> tuple[Family, ModelConfig]:
    """What a folder holds, or what it goes on as for the task."""
    kind = tasks().get(task.replace("_", "-"))
    description = describe(Path(start), kind.way_out if kind else None)
    return description.family, description.config


def _recipe(default: Recipe, given: dict[str, Any], folds: bool) -> Recipe:
    """The defaults with what was given.

    Args:
        folds: whether the rows are cross-validated, unless an evaluation is to choose the weights.
    """
    values = default.model_dump()
    if folds and not {"keep", "average", "patience", "blend"} & given.keys():
        values["keep"] = "last"
    if (tune := given.get("tune")) in RATES:
        values |= {"lr": values["lr"] * RATES[tune], "head_lr": head_rate(values["head_lr"], tune)}
    if given.get("average") or given.get("patience"):
        values["keep"] = "best"
    if {"steps", "epochs", "minutes"} & given.keys():
        values |= dict.fromkeys(("steps", "epochs", "minutes"))
    return Recipe(**(values | given))


def _absolute(data: Data) -> tuple[str, ...]:
    items: Sequence[str | Path] = [data] if isinstance(data, str | Path) else data
    return tuple(str(Path(item).expanduser().absolute()) for item in items)
