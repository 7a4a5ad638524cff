"""Stage 1 and stage 2: from what a person asks for to a finished model folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pydantic
import torch

from patchword.data.files import Data
from patchword.data.sources import modality
from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.models.config import EncoderDecoderConfig, ImageConfig
from patchword.models.family import Family, Model, preset, presets
from patchword.models.folder import config_json, describe, find_folder, read_json, write_file, write_json, write_model
from patchword.nn.config import ModelConfig
from patchword.tasks.precision import choose_precision
from patchword.tasks.suspects import suspects
from patchword.tasks.task import Ask, Compute, Prepared, Reader, choose_device, task_named, tasks
from patchword.training.adapters import merge, write_adapter
from patchword.training.card import model_card
from patchword.training.checkpoint import TrainState, check_space, latest, seed_everything
from patchword.training.curves import draw_curves
from patchword.training.loop import Interrupted, Watch, train
from patchword.training.memory import keep_freed_memory
from patchword.training.optimizer import make_optimizer
from patchword.training.prepare import Say, ask_for, config_for, model_for, prepare, reader_for
from patchword.training.recipe import Recipe
from patchword.training.recipes import default_recipe
from patchword.training.run import CARD, RunConfig, RunFolder, versions
from patchword.training.seeds import DEFAULT, FEW, choose, finish_seed, finished, load_best, on_test, places
from patchword.training.tracking import Tracker, console
from patchword.training.tuning import RATES


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
        model: a preset, "bert-mini" (`patchword presets`), to begin with random weights.
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
    if (model is None) == (start is None):
        raise UserError("Give a preset to begin anew (--model), or a folder to go on from (--from): one of the two.")
    refused: tuple[str, ...]
    if model is not None:
        kind, begin = preset(model)[0], model
        refused, why = (
            ("tune", "layer_decay", "unfreeze", "extend_vocab"),
            f"go on from weights, and {model} has none (--from)",
        )
    else:
        folder = find_folder(str(start))
        kind, begin = describe(folder).family, str(folder.resolve())
        refused, why = ("tokenizer", "vocab_size", "patch_size"), f"are for a new model; {start} has its own"
    if given := [name for name in refused if settings.get(name) is not None]:
        raise UserError(f"{', '.join(given)}: such settings {why}.")
    stop_after = settings.pop("stop_after", None)
    run = _settle("pretrain", begin, task or kind.objective, data, settings)
    return _begin(run, Path(out), overwrite, quiet, stop_after)


def finetune(
    start: str | Path,
    data: Data,
    *,
    out: str | Path,
    task: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
    watch: Watch | None = None,
    **settings: Any,
) -> Result:
    """Stage 2: learn from few labels, beginning with pretrained weights.

    Args:
        start: a folder that patchword or `transformers` wrote, or a name on the Hugging Face hub.
        data: labelled texts (.jsonl, .csv, .parquet), or images (a folder for each class, or a table).
        out, overwrite, quiet, settings: as in `pretrain`.
        task: by name; where not given, what the data look like: text or image classification if like nothing else.
        watch: is told of each evaluation; what it raises ends the run.

    Raises:
        UserError: something can not be used as it is; the message says what, where, and what to do.
    """
    stop_after = settings.pop("stop_after", None)
    run = finetune_settings(start, data, task, **settings)
    return _begin(run, Path(out), overwrite, quiet, stop_after, watch)


def finetune_settings(start: str | Path, data: Data, task: str | None = None, **settings: Any) -> RunConfig:
    """The complete settings of a run of `finetune`, defaults included; nothing is learnt or written.

    Raises:
        UserError: as `finetune` does.
    """
    folder = find_folder(start)
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
    folder = RunFolder.open(Path(out))
    if folder.finished:
        raise UserError(f"The run in {out} is finished; there is nothing to go on with.")
    return _execute(folder, folder.read_config(), folder.begun, quiet, stop_after)


def _begin(
    run: RunConfig, out: Path, overwrite: bool, quiet: bool, stop_after: int | None, watch: Watch | None = None
) -> Result:
    folder = RunFolder.create(out, overwrite)
    folder.write_config(run)
    return _execute(folder, run, False, quiet, stop_after, watch)


def _settle(stage: str, start: str, task: str, data: Data, settings: dict[str, Any]) -> RunConfig:
    """The complete settings of a run from those that were given."""
    settings = {name: value for name, value in settings.items() if value is not None}
    recipe = {name: settings.pop(name) for name in list(settings) if name in Recipe.model_fields}
    family, config = preset(start) if start in presets() else _described(start, task)
    kind = task_named(task, family)
    if ignored := {"augment", "label_smoothing"} & settings.keys() - set(kind.heeds):
        raise UserError(f"{', '.join(sorted(ignored))}: {kind.name} has no use for it. Leave it out.")
    if modality(data, **{k: v for k, v in settings.items() if k in ("text_column", "image_column")}) != family.modality:
        raise UserError(f"{start} reads {family.modality}s, but {data} are not {family.modality}s.")
    asked = {field.name for field in fields(Ask)} - {"data"}
    rows = kind.rows(Ask(data, **{name: value for name, value in settings.items() if name in asked}))
    seeds = settings.pop("seeds", DEFAULT if kind.reads == "labelled" and stage == "finetune" and rows < FEW else 1)
    try:
        run = RunConfig(
            stage=stage,
            start=start,
            task=kind.name,
            data=_absolute(data),
            **{name: _absolute(settings.pop(name)) for name in ("validation", "test") if name in settings},
            seeds=seeds,
            recipe=_recipe(default_recipe(stage, kind.name, config.width, rows, start not in presets()), recipe, seeds),
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


def _recipe(default: Recipe, given: dict[str, Any], seeds: int) -> Recipe:
    """The defaults with what was given; a time is for all seeds together."""
    values = default.model_dump()
    values["lr"] *= RATES.get(given.get("tune", "all"), 1.0)
    if "minutes" in given:
        given = given | {"minutes": given["minutes"] / max(seeds, 1)}
    if {"steps", "epochs", "minutes"} & given.keys():
        values |= dict.fromkeys(("steps", "epochs", "minutes"))
    return Recipe(**(values | given))


def _absolute(data: Data) -> tuple[str, ...]:
    items: Sequence[str | Path] = [data] if isinstance(data, str | Path) else data
    return tuple(str(Path(item).expanduser().absolute()) for item in items)


def _execute(
    folder: RunFolder,
    run: RunConfig,
    again: bool,
    quiet: bool,
    stop_after: int | None,
    watch: Watch | None = None,
) -> Result:
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

    compute = Compute(device, autocast, min(run.recipe.batch_tokens, 16384))
    where = places(folder.path, run.seeds)
    probes: dict[str, Any] = {}
    if run.stage == "finetune" and not run.begins_anew:
        start = model_for(run, family, config, task, reader, device, lambda text: None)
        probes = task.probes(start, prepared, compute)
        del start
    model = None
    cost: dict[str, Any] = {}
    for number, place in enumerate(where):
        if run.seeds > 1 and finished(place):
            continue
        if number:
            say(f"Seed {number + 1} of {run.seeds}.")
        seed_everything(run.seed + number)
        model = model_for(run, family, config, task, reader, device, say if number == 0 else lambda text: None)
        if not folder.begun:
            check_space(folder.path, model, run.seeds)
            _write_start(folder, run, model, reader, ask, prepared)
        if number == 0:
            say(
                f"{model.num_parameters:,} parameters, {len(prepared.train):,} examples; {precision} on {device.type}"
                + (f" with {torch.get_num_threads()} threads." if device.type == "cpu" else ".")
            )
        state = TrainState(model, make_optimizer(model, run.recipe))
        try:
            _learn(place, state, prepared, run.recipe, compute, run.seed + number, quiet, say, stop_after, watch)
        except Interrupted:
            say(f"Stopped after step {state.step}; all of it is saved. Go on with: patchword resume {folder.path}")
            raise
        if run.seeds > 1:
            finish_seed(place, run.seed + number, state, prepared, compute)
        cost = {"steps": state.step, "best_step": state.best_step, "averaged": state.averaged}
        cost |= {"tokens": state.tokens, "seconds": state.seconds}
    if model is None:  # a kill came after the last seed's end
        model = model_for(run, family, config, task, reader, device, say)
    return _finish(folder, run, where, model, cost, probes, prepared, reader, ask, compute)


def _learn(
    place: Path,
    state: TrainState,
    prepared: Prepared,
    recipe: Recipe,
    compute: Compute,
    seed: int,
    quiet: bool,
    say: Say,
    stop_after: int | None,
    watch: Watch | None,
) -> None:
    """One seed to its end, from its last checkpoint if it has one."""
    place.mkdir(parents=True, exist_ok=True)
    checkpoints = place / "checkpoints"
    if checkpoint := latest(checkpoints):
        state.load(checkpoint)
        say(f"Going on after step {state.step}, where the last checkpoint was written.")
    try:
        with Tracker(place, state.step, quiet) as tracker:
            train(state, prepared, recipe, compute, tracker, checkpoints, seed, stop_after, watch)
    except KeyboardInterrupt:
        raise Interrupted from None


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
    where: Sequence[Path],
    model: Model,
    cost: dict[str, Any],
    probes: dict[str, Any],
    prepared: Prepared,
    reader: Reader,
    ask: Ask,
    compute: Compute,
) -> Result:
    """The best weights into the folder, and beside them how good they are."""
    task = prepared.task
    told: dict[str, Any] = {}
    if run.seeds == 1:
        load_best(model, folder.path)
    else:
        chosen, seeds = choose(model, where, prepared, compute)
        if prepared.test is not None:
            seeds["test"] = on_test(model, where, prepared, compute)
        runs = seeds["runs"]
        cost = {name: sum(of_seed[name] for of_seed in runs) for name in ("tokens", "seconds")}
        cost |= {"steps": sum(of_seed["step"] for of_seed in runs), "best_step": runs[chosen[0]]["best_step"]}
        told["seeds"] = seeds
    told |= task.settle(model, prepared, compute)
    report = task.report(model, prepared, compute) | told | cost
    report |= {name: report.get(name, {}) | part for name, part in probes.items()}
    if "mistakes" in report.get("review", {}) and not run.begins_anew:
        start = model_for(run, model.family, model.config, task, reader, compute.device, lambda text: None)
        report["suspects"] = suspects(start, prepared, compute)
    report["tokens_per_second"] = round(report["tokens"] / max(report["seconds"], 1e-9), 1)
    report["seconds"] = round(report["seconds"], 1)
    report |= {"device": compute.device.type, "threads": torch.get_num_threads()}
    report = json.loads(json.dumps(report))
    task.finish(model)
    if run.recipe.tune in ("lora", "dora"):
        write_adapter(model, run.recipe, run.start, folder.path / "adapter")
        merge(model)
    write_model(model, folder.path)
    for name, content in task.files(model).items():
        write_json(folder.path / name, content)
    for place in where:
        draw_curves(place)
    card = _card(run, model, ask, prepared) | {"report": report}
    text = model_card(folder.path.resolve().name, run, card, config_json(model))
    write_file(folder.path / "README.md", text.encode())
    folder.write_card(card)
    if run.seeds > 1:
        for place in where:
            shutil.rmtree(place / "checkpoints", ignore_errors=True)
    model.eval()
    return Result(folder.path, report, model)
