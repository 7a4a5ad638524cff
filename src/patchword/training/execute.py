"""A run from its complete settings to a finished model folder: seed by seed, and on from wherever it stopped."""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from patchword.data.atomic import write_file, write_json
from patchword.data.files import hash_of
from patchword.data.tokenizers import Tokenizer
from patchword.errors import Notice
from patchword.models.config_file import read_json
from patchword.models.family import Family, Model
from patchword.models.folder import config_json, write_model
from patchword.nn.config import ModelConfig
from patchword.nn.meta import shapes_only
from patchword.tasks.precision import choose_precision
from patchword.tasks.task import Ask, Compute, Prepared, Reader, choose_device, read_at_once
from patchword.training.adapters import merge, write_adapter
from patchword.training.blend import blend
from patchword.training.card import model_card
from patchword.training.checkpoint import TrainState, check_space, latest, seed_everything
from patchword.training.curves import draw_curves
from patchword.training.fingerprints import check_unchanged, of_bases, of_data, of_reader
from patchword.training.loop import Watch, train
from patchword.training.memory import keep_freed_memory
from patchword.training.micro_batches import check_micro_batches, most_tokens
from patchword.training.optimizer import make_optimizer
from patchword.training.paid import before, probe_before
from patchword.training.prepare import ask_for, config_for, model_for, prepare, reader_for, with_sizes
from patchword.training.recipes import default_recipe
from patchword.training.recompute import fit
from patchword.training.run import BASELINES, RunConfig, RunFolder, versions
from patchword.training.seeds import (
    aside,
    choose,
    cross_validated,
    finish_seed,
    finished,
    load_best,
    on_test,
    part_of,
    places,
    set_aside,
    trained_seconds,
)
from patchword.training.time_plan import TimePlan, time_steps
from patchword.training.tracking import Say, Tracker, said, working


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


def execute(
    folder: RunFolder,
    run: RunConfig,
    again: bool,
    quiet: bool,
    stop_after: int | None,
    watch: Watch | None = None,
    began: float | None = None,
    baselines: Path | None = None,
) -> Result:
    """Everything after the settings are known: the same for a new run and one that goes on.

    Args:
        began: when the command began, in the time of `time.monotonic`; now where not given.
        baselines: a file that keeps what the baselines reach, where several runs share their rows.
    """
    # A run that is resumed has used up what it was trained for already.
    began = (time.monotonic() if began is None else began) - trained_seconds(folder.path, run.runs)
    say = said(quiet)
    device = choose_device(run.device)
    precision, autocast = choose_precision(run.recipe.precision, device)
    seed_everything(run.seed)
    keep_freed_memory()

    bases = of_bases(run)
    reader = reader_for(run, folder, again, quiet)
    family, config = config_for(run, reader)
    ask = with_sizes(ask_for(run), config)
    prepared = prepare(run, ask, reader, family, quiet)
    for note in prepared.notes:
        say(note)
    task = prepared.task
    marks = bases | of_data(prepared.facts)
    if again:
        _check_same_inputs(folder, marks | of_reader(folder.path))
    text_length = ask.max_length if family.modality == "text" else None
    length = text_length or ask.tokens_per_image
    with shapes_only():
        shape = Model(family, config, task.way_out, task.labels, task.problem)
    if inexact := check_micro_batches(shape, run.recipe, length, getattr(task, "contrast", 0.0)):
        say(inexact)

    compute = Compute(device, autocast, min(run.recipe.batch_tokens, read_at_once(device)))
    file = baselines or folder.path / BASELINES
    plan = None
    if run.recipe.minutes or not quiet:
        deadline = began + 60 * run.recipe.minutes if run.recipe.minutes else None
        planned, plan = _plan(run, prepared, family, config, reader, compute, deadline, not file.is_file())
        folder.write_config(planned)
        if planned.seeds != run.seeds:  # the rows are divided into other folds, or a part of them is held back
            ask = replace(ask, folds=ask_for(planned).folds)
            prepared = prepare(planned, ask, reader, family, quiet)
            task, marks = prepared.task, bases | of_data(prepared.facts)
        run = planned
        say(plan.sentence())
    simple = _baselines(run, folder, file, family, config, prepared, reader, ask, compute, quiet)
    if plan is not None:
        plan.baseline_seconds = 0.0
    where = places(folder.path, run.runs)
    model = None
    cost: dict[str, Any] = {}
    numbers = list(range(run.runs))
    for number in numbers:
        place = where[number]
        if run.runs > 1 and finished(place) and not set_aside(run, where, number):
            continue
        tries = len(aside(place))
        seed = run.seed + number + tries
        if tries:
            say(f"The model on all rows collapsed, those of the folds did not: it is trained again, with seed {seed}.")
        elif number:
            name = "Fold" if run.cross_validated else "Seed"
            kept = run.cross_validated and number == run.seeds
            say("The model that is kept, on all rows." if kept else f"{name} {number + 1} of {run.seeds}.")
        seed_everything(seed)
        check_unchanged(bases, of_bases(run), folder.out)
        model, new = model_for(run, family, config, task, reader, device, say if number == 0 else lambda text: None)
        if run.recipe.memory:
            at_once = min(run.recipe.micro_tokens or run.recipe.batch_tokens, most_tokens(run.recipe, length))
            fitted = fit(model, run.recipe.memory, at_once, text_length, run.recipe.ema is not None)
            if number == 0:
                say(fitted)
        optimizer = make_optimizer(model, run.recipe, new)
        if not folder.begun:
            check_space(folder.path, model, 1 if run.cross_validated else run.seeds, run.recipe.ema is not None)
            _write_start(folder, run, model, reader, ask, prepared, marks)
        if number == 0:
            say(
                f"{model.num_parameters:,} parameters, {len(prepared.train):,} examples; {precision} on {device.type}"
                + (f" with {torch.get_num_threads()} threads." if device.type == "cpu" else ".")
            )
        state = TrainState(model, optimizer)
        _learn(place, state, part_of(prepared, number), run, number, seed, compute, plan, quiet, say, stop_after, watch)
        if run.runs > 1:
            finish_seed(place, number, seed, state, prepared, compute)
            if set_aside(run, where, number):
                numbers.append(number)
        cost = {"steps": state.step, "best_step": state.best_step, "averaged": state.averaged}
        cost |= {"tokens": state.tokens, "seconds": state.seconds}
    if model is None:  # a kill came after the last seed's end
        model, _ = model_for(run, family, config, task, reader, device, say)
    with working("Evaluating ...", quiet) as activity:
        compute = replace(compute, progress=activity.rows)
        result = _finish(folder, run, where, model, cost, simple, began, prepared, reader, ask, compute)
    (folder.path / BASELINES).unlink(missing_ok=True)
    folder.publish()
    return result


def _baselines(
    run: RunConfig,
    folder: RunFolder,
    file: Path,
    family: Family,
    config: ModelConfig,
    prepared: Prepared,
    reader: Reader,
    ask: Ask,
    compute: Compute,
    quiet: bool,
) -> dict[str, Any]:
    """What simple methods reach on the same rows: parts of the report.

    They come before the training, which then has the time that is left. A run that is resumed reads them again.
    """
    of = hash_of([repr((of_bases(run), ask, prepared.facts))])
    if file.is_file() and (kept := read_json(file)).get("of") == of:
        return dict(kept["baselines"])
    task = prepared.task
    with working("Evaluating baselines ...", quiet or task.reads != "labelled") as activity:
        compute = replace(compute, progress=activity.rows)
        found = task.baselines(prepared)
        if run.stage == "finetune" and not run.begins_anew:
            base, _ = model_for(run, family, config, task, reader, compute.device, said(True))
            for more in (task.probes(base, prepared, compute), probe_before(run, folder, compute)):
                found |= {name: found.get(name, {}) | part for name, part in more.items()}
    write_json(file, {"of": of, "baselines": found})
    return dict(read_json(file)["baselines"])


def _plan(
    run: RunConfig,
    prepared: Prepared,
    family: Family,
    config: ModelConfig,
    reader: Reader,
    compute: Compute,
    deadline: float | None,
    baselines: bool,
) -> tuple[RunConfig, TimePlan]:
    """How long the run takes, from a few steps of a model that is thrown away; and the run with the seeds that fit."""
    seed_everything(run.seed)
    model, new = model_for(run, family, config, prepared.task, reader, compute.device, said(True))
    state = TrainState(model, make_optimizer(model, run.recipe, new))
    step = time_steps(state, prepared, run.recipe, compute, run.seed)
    plan = TimePlan.of(run, prepared, step, model.num_parameters, deadline)
    if baselines and prepared.task.reads == "labelled":
        starts = 0 if run.begins_anew else 1 + (before(run) is not None)
        plan.baseline_seconds = plan.reading_seconds(prepared, run.cross_validated) * starts
    if run.fit_seeds and deadline is not None:
        rows = len(prepared.train) + len(prepared.validation)
        length = default_recipe(run.stage, run.task, config.width, rows, not run.begins_anew, family.recipe)
        plan.fit_seeds(run.runs, length)
        run = run.model_copy(update={"seeds": max(plan.seeds - run.cross_validated, 1), "fit_seeds": False})
        plan.seeds, plan.folds = run.runs, run.seeds if run.cross_validated else 0
    return run, plan


def _learn(
    place: Path,
    state: TrainState,
    prepared: Prepared,
    run: RunConfig,
    number: int,
    seed: int,
    compute: Compute,
    plan: TimePlan | None,
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
    recipe = run.recipe
    allowed = None if plan is None or plan.deadline is None else plan.seconds_allowed(run.runs - number, state.seconds)
    began = time.monotonic() - state.seconds

    def seconds_left(progress: float) -> float | None:
        return None if plan is None else plan.seconds_left(number, progress, time.monotonic() - began)

    on_all_rows = run.cross_validated and number == run.seeds
    kind = "fold" if run.cross_validated else "seed"
    name = f"{kind} {number + 1} of {run.seeds}" if run.seeds > 1 and not on_all_rows else "training"
    with Tracker(place, state.step, quiet, name, seconds_left) as tracker:
        idle = train(
            state, prepared, recipe, compute, tracker, checkpoints, seed, stop_after, watch, allowed, not on_all_rows
        )
    say(f"The loop waited for data in {idle:.1%} of the time.")


def _check_same_inputs(folder: RunFolder, marks: Mapping[str, str]) -> None:
    """Refuse to resume a run whose inputs are not as they were when it began."""
    card = folder.read_card()
    if card.get("fingerprints") is None:
        warnings.warn(
            f"The run in {folder.out} began with a version that kept no fingerprints of its base checkpoint and test "
            "data; whether these are as they were is not checked.",
            Notice,
            stacklevel=2,
        )
    check_unchanged(card.get("fingerprints") or of_data(card["data"]), marks, folder.out)


def _save_reader(folder: Path, reader: Reader, max_length: int) -> None:
    if isinstance(reader, Tokenizer):
        reader.save(folder, max_length)
    else:
        write_json(folder / "preprocessor_config.json", reader.to_dict())


def _card(
    run: RunConfig, model: Model, ask: Ask, prepared: Prepared, marks: Mapping[str, str] | None
) -> dict[str, Any]:
    return {
        "task": run.task,
        "stage": run.stage,
        "start": run.start,
        "settings": prepared.task.facts(),
        "only_in_training_loss": list(prepared.task.only_in_training),
        "labels": list(model.labels),
        "problem": model.problem,
        "max_length": ask.max_length if model.family.modality == "text" else None,
        "data": {"files": list(run.data), **prepared.facts},
        "recipe": run.recipe.model_dump(exclude_none=True),
        "seed": run.seed,
        "versions": versions(),
        **({} if marks is None else {"fingerprints": dict(marks)}),
    }


def _write_start(
    folder: RunFolder,
    run: RunConfig,
    model: Model,
    reader: Reader,
    ask: Ask,
    prepared: Prepared,
    marks: Mapping[str, str],
) -> None:
    """What a resume needs before there is a checkpoint; the card last, since it says that all of it is there."""
    write_json(folder.path / "config.json", config_json(model))
    _save_reader(folder.path, reader, ask.max_length)
    folder.write_card(_card(run, model, ask, prepared, {**marks, **of_reader(folder.path)}))


def _finish(
    folder: RunFolder,
    run: RunConfig,
    where: Sequence[Path],
    model: Model,
    cost: dict[str, Any],
    simple: dict[str, Any],
    began: float,
    prepared: Prepared,
    reader: Reader,
    ask: Ask,
    compute: Compute,
) -> Result:
    """The best weights into the folder, and beside them how good they are."""
    task = prepared.task
    told: dict[str, Any] = {}
    if run.runs == 1:
        load_best(model, folder.path)
    elif run.cross_validated:
        load_best(model, where[-1])
        prepared, told["cross_validation"] = cross_validated(where, prepared)
        runs = told["cross_validation"]["runs"]
        trained = runs + told["cross_validation"]["retries"]
        cost = {name: sum(of_run[name] for of_run in trained) for name in ("tokens", "seconds")}
        cost |= {"steps": sum(of_run["step"] for of_run in trained), "best_step": runs[-1]["best_step"]}
    else:
        chosen, seeds = choose(model, where, prepared, compute)
        if prepared.test is not None:
            seeds["test"] = on_test(model, where, prepared, compute)
        runs = seeds["runs"]
        cost = {name: sum(of_seed[name] for of_seed in runs) for name in ("tokens", "seconds")}
        cost |= {"steps": sum(of_seed["step"] for of_seed in runs), "best_step": runs[chosen[0]]["best_step"]}
        told["seeds"] = seeds
    if not run.begins_anew and run.recipe.blend < 1:
        base, _ = model_for(run, model.family, model.config, task, reader, compute.device, said(True))
        blend(model, base, run.recipe.blend)
    told |= task.settle(model, prepared, compute)
    prepared = replace(prepared, predictions=task.held_out_predictions(model, prepared, compute))
    report = task.report(model, prepared, compute) | task.compared(simple, prepared) | told | cost
    report["tokens_per_second"] = round(report["tokens"] / max(report["seconds"], 1e-9), 1)
    report["seconds"] = round(report["seconds"], 1)
    report |= {"device": compute.device.type, "threads": torch.get_num_threads()}
    report = json.loads(json.dumps(report))
    task.finish(model)
    if run.recipe.tune in ("lora", "dora"):
        write_adapter(model, run.recipe, run.start, folder.path / "adapter")
        merge(model)
    write_model(model, folder.path)
    for place in where:
        draw_curves(place, task.only_in_training)
    report["total_seconds"] = round(time.monotonic() - began, 1)
    card = _card(run, model, ask, prepared, folder.read_card().get("fingerprints")) | {"report": report}
    text = model_card(folder.out.resolve().name, run, card, config_json(model))
    write_file(folder.path / "README.md", text.encode())
    folder.write_card(card)
    if run.runs > 1:
        for place in where:
            shutil.rmtree(place / "checkpoints", ignore_errors=True)
    model.eval()
    return Result(folder.out, report, model)
