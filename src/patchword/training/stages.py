"""Stage 1 and stage 2: from what a person asks for to a finished model folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pydantic
import torch
from safetensors.torch import load_file

from patchword.data.files import Data
from patchword.data.sources import modality
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.models.config import EncoderDecoderConfig, ImageConfig
from patchword.models.family import Family, Model, preset
from patchword.models.folder import config_json, describe, find_folder, read_json, write_json, write_model
from patchword.nn.config import ModelConfig
from patchword.tasks.task import Ask, Compute, Prepared, Reader, choose_device, task_named, tasks
from patchword.training.checkpoint import TrainState, check_space, latest, seed_everything
from patchword.training.curves import draw_curves
from patchword.training.loop import Interrupted, train
from patchword.training.memory import keep_freed_memory
from patchword.training.optimizer import make_optimizer
from patchword.training.precision import choose_precision
from patchword.training.prepare import Say, ask_for, config_for, model_for, prepare, reader_for
from patchword.training.recipe import Recipe
from patchword.training.recipes import default_recipe
from patchword.training.run import CARD, RunConfig, RunFolder, versions
from patchword.training.tracking import Tracker, console


@dataclass(frozen=True)
class Result:
    """A finished run.

    Args:
        folder: the model folder.
        report: scores, floors and samples, as `patchword.json` has them under "report".
        model: the model, on the device that it was trained on.
    """

    folder: Path
    report: dict[str, Any]
    model: Model


def pretrain(
    data: Data,
    *,
    model: str,
    out: str | Path,
    task: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Result:
    """Stage 1: learn from random weights.

    Args:
        data: a file, a folder, a pattern or a list of them: text (.txt, .jsonl, .csv, .parquet), or images.
        model: a preset, "bert-mini" (`patchword presets`).
        out: the folder to write; a Hugging Face model folder when done.
        task: by name; where not given, what the family's models are pretrained with ("masked-lm" for BERT).
        overwrite: replace another run in `out`.
        quiet: tell nothing.
        settings: fields of `RunConfig` (`vocab_size`, `max_length`, ...) and of `Recipe` (`minutes`, `lr`, ...).

    Raises:
        UserError: something can not be used as it is; the message says what, where, and what to do.
    """
    kind, _ = preset(model)
    return _begin("pretrain", model, task or kind.objective, data, Path(out), overwrite, quiet, settings)


def finetune(
    start: str | Path,
    data: Data,
    *,
    out: str | Path,
    task: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Result:
    """Stage 2: learn from few labels, beginning with pretrained weights.

    Args:
        start: a folder that patchword or `transformers` wrote, or a name on the Hugging Face hub.
        data: labelled texts (.jsonl, .csv, .parquet), or images (a folder for each class, or a table).
        out, overwrite, quiet, settings: as in `pretrain`.
        task: by name; where not given, what the data look like: text or image classification if like nothing else.

    Raises:
        UserError: something can not be used as it is; the message says what, where, and what to do.
    """
    folder = find_folder(start)
    if task is None:
        kinds = [name for name, kind in tasks().items() if kind.reads == "labelled" and kind.recognises(data)]
        task = kinds[0] if kinds else f"{describe(folder).family.modality}-classification"
    return _begin("finetune", str(folder.resolve()), task, data, Path(out), overwrite, quiet, settings)


def resume(out: str | Path, *, quiet: bool = False, stop_after: int | None = None) -> Result:
    """Go on with a run that was interrupted, exactly as if it had not been.

    Args:
        out: its folder.
        quiet: tell nothing.
        stop_after: interrupt it again after so many steps.

    Raises:
        UserError: there is no such run, or it is finished, or its data have changed.
    """
    folder = RunFolder.open(Path(out))
    if folder.finished:
        raise UserError(f"The run in {out} is finished; there is nothing to go on with.")
    return _execute(folder, folder.read_config(), folder.begun, quiet, stop_after)


def _begin(
    stage: str,
    start: str,
    task: str,
    data: Data,
    out: Path,
    overwrite: bool,
    quiet: bool,
    settings: dict[str, Any],
) -> Result:
    stop_after = settings.pop("stop_after", None)
    settings = {name: value for name, value in settings.items() if value is not None}
    recipe = {name: settings.pop(name) for name in list(settings) if name in Recipe.model_fields}
    family, config = preset(start) if stage == "pretrain" else _described(start, task)
    kind = task_named(task, family)
    if modality(data, **{k: v for k, v in settings.items() if k in ("text_column", "image_column")}) != family.modality:
        raise UserError(f"{start} reads {family.modality}s, but {data} are not {family.modality}s.")
    asked = {field.name for field in fields(Ask)} - {"data"}
    rows = kind.rows(Ask(data, **{name: value for name, value in settings.items() if name in asked}))
    try:
        run = RunConfig(
            stage=stage,
            start=start,
            task=kind.name,
            data=_absolute(data),
            **{name: _absolute(settings.pop(name)) for name in ("validation", "test") if name in settings},
            recipe=_recipe(default_recipe(stage, kind.name, config.width, rows), recipe),
            **settings,
        )
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise UserError(f"{name or 'settings'}: {problem['msg'].removeprefix('Value error, ')}.") from error
    # What was found to be fast is written down: a resume computes in the same type, however busy the machine is then.
    precision, _ = choose_precision(run.recipe.precision, choose_device(run.device))
    run = run.model_copy(update={"recipe": run.recipe.model_copy(update={"precision": precision})})
    folder = RunFolder.create(out, overwrite)
    folder.write_config(run)
    return _execute(folder, run, False, quiet, stop_after)


def _described(start: str, task: str) -> tuple[Family, ModelConfig]:
    """What a folder holds, or what it goes on as for the task."""
    kind = tasks().get(task.replace("_", "-"))
    description = describe(Path(start), kind.way_out if kind else None)
    return description.family, description.config


def _recipe(default: Recipe, given: dict[str, Any]) -> Recipe:
    values = default.model_dump()
    if {"steps", "epochs", "minutes"} & given.keys():
        values |= dict.fromkeys(("steps", "epochs", "minutes"))
    return Recipe(**(values | given))


def _absolute(data: Data) -> tuple[str, ...]:
    items: Sequence[str | Path] = [data] if isinstance(data, str | Path) else data
    return tuple(str(Path(item).expanduser().absolute()) for item in items)


def _execute(folder: RunFolder, run: RunConfig, again: bool, quiet: bool, stop_after: int | None) -> Result:
    """Everything after the settings are known: the same for a new run and one that goes on."""
    say: Say = (lambda text: None) if quiet else (lambda text: console.print(text, markup=False))
    device = choose_device(run.device)
    precision, autocast = choose_precision(run.recipe.precision, device)
    seed_everything(run.seed)
    keep_freed_memory()

    reader = reader_for(run, folder, again, say)
    ask = ask_for(run)
    family, config = config_for(run, reader)
    if isinstance(config, ImageConfig):
        ask = replace(ask, tokens_per_image=config.tokens)
    if isinstance(config, EncoderDecoderConfig):
        ask = replace(ask, start_token=config.decoder_start_token_id, writes="answer")
    prepared = prepare(run, ask, reader, family, quiet)
    for note in prepared.notes:
        say(note)
    task = prepared.task
    _check_same_data(folder, prepared, again)

    model = model_for(run, family, config, task, device, say)
    check_space(folder.path, model)
    if not again:
        _write_start(folder, run, model, reader, ask, prepared)
    compute = Compute(device, autocast, min(run.recipe.batch_tokens, 16384))
    state = TrainState(model, make_optimizer(model, run.recipe))
    checkpoint = latest(folder.checkpoints)
    if again and checkpoint:
        state.load(checkpoint)
        say(f"Going on after step {state.step}, where the last checkpoint was written.")
    say(
        f"{model.num_parameters:,} parameters, {len(prepared.train):,} examples; {precision} on {device.type}"
        + (f" with {torch.get_num_threads()} threads." if device.type == "cpu" else ".")
    )
    try:
        with Tracker(folder.path, state.step, quiet) as tracker:
            train(state, prepared, run.recipe, compute, tracker, folder.checkpoints, run.seed, stop_after)
    except Interrupted:
        say(f"Stopped after step {state.step}; all of it is saved. Go on with: patchword resume {folder.path}")
        raise
    except KeyboardInterrupt:
        raise Interrupted from None
    return _finish(folder, run, state, prepared, reader, ask, compute)


def _check_same_data(folder: RunFolder, prepared: Prepared, again: bool) -> None:
    if not again:
        return
    before = read_json(folder.path / CARD)["data"]
    if any(before.get(name) != prepared.facts.get(name) for name in ("fingerprint", "validation_fingerprint")):
        raise UserError(
            f"The data have changed since the run in {folder.path} began, so it can not go on exactly. "
            "Bring them back, or begin a new run."
        )


def _save_reader(folder: Path, reader: Reader, max_length: int) -> None:
    if isinstance(reader, Tokenizer):
        reader.save(folder, max_length)
    else:
        write_json(folder / "preprocessor_config.json", reader.to_dict())


def _card(run: RunConfig, model: Model, ask: Ask, prepared: Prepared) -> dict[str, Any]:
    return {
        "task": run.task,
        "stage": run.stage,
        "start": run.start,
        "settings": prepared.task.facts(),
        "labels": list(model.labels),
        "problem": model.problem,
        "max_length": ask.max_length if model.family.modality == "text" else None,
        "data": {"files": list(run.data), **prepared.facts},
        "seed": run.seed,
        "versions": versions(),
    }


def _write_start(folder: RunFolder, run: RunConfig, model: Model, reader: Reader, ask: Ask, prepared: Prepared) -> None:
    """What a resume needs before there is a checkpoint; the card last, since it says that all of it is there."""
    write_json(folder.path / "config.json", config_json(model))
    _save_reader(folder.path, reader, ask.max_length)
    folder.write_card(_card(run, model, ask, prepared))


def _finish(
    folder: RunFolder,
    run: RunConfig,
    state: TrainState,
    prepared: Prepared,
    reader: Reader,
    ask: Ask,
    compute: Compute,
) -> Result:
    """The best weights into the folder, and beside them how good they are."""
    model, task = state.model, prepared.task
    best = state.best_weights(folder.checkpoints)
    if best.is_file():
        model.load_state_dict(load_file(best), strict=False)
    report = task.report(model, prepared, compute) | {
        "steps": state.step,
        "best_step": state.best_step,
        "tokens": state.tokens,
        "seconds": round(state.seconds, 1),
        "tokens_per_second": round(state.tokens / max(state.seconds, 1e-9), 1),
    }
    report = json.loads(json.dumps(report))
    task.finish(model)
    write_model(model, folder.path)
    draw_curves(folder.path)
    folder.write_card(_card(run, model, ask, prepared) | {"report": report})
    model.eval()
    return Result(folder.path, report, model)
