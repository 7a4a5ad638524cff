"""Stage 1 and stage 2: from what a person asks for to a finished model folder."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pydantic
import torch
from safetensors.torch import load_file

from patchword.data.images import ImageProcessor, Images
from patchword.data.sources import Data, Documents, modality, read_labelled
from patchword.data.store import cache_folder
from patchword.data.tokenizers import Tokenizer, train_wordpiece
from patchword.errors import UserError
from patchword.models.config import ImageConfig, TextConfig
from patchword.models.family import Family, Model, preset
from patchword.models.folder import (
    config_json,
    describe,
    find_folder,
    make_config,
    read_json,
    read_model,
    write_json,
    write_model,
)
from patchword.nn.config import TransformerConfig
from patchword.tasks.task import Ask, Compute, Prepared, Reader, Task, choose_device, task_named
from patchword.training.checkpoint import BEST, TrainState, check_space, latest, seed_everything
from patchword.training.curves import draw_curves
from patchword.training.loop import Interrupted, train
from patchword.training.memory import keep_freed_memory
from patchword.training.optimizer import make_optimizer
from patchword.training.precision import choose_precision
from patchword.training.recipe import Recipe
from patchword.training.recipes import default_recipe
from patchword.training.run import CARD, RunConfig, RunFolder, versions
from patchword.training.tracking import Tracker, console

Say = Callable[[str], None]


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
        task: "masked-lm" for text, "image-classification" for images where not given.
        overwrite: replace another run in `out`.
        quiet: tell nothing.
        settings: fields of `RunConfig` (`vocab_size`, `max_length`, ...) and of `Recipe` (`minutes`, `lr`, ...).

    Raises:
        UserError: something can not be used as it is; the message says what, where, and what to do.
    """
    kind, _ = preset(model)
    task = task or {"text": "masked-lm", "image": "image-classification"}[kind.modality]
    return _begin("pretrain", model, task, data, Path(out), overwrite, quiet, settings)


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
        task: "text-classification" or "image-classification" where not given.

    Raises:
        UserError: something can not be used as it is; the message says what, where, and what to do.
    """
    folder = find_folder(start)
    kind = describe(folder).family.modality
    task = task or f"{kind}-classification"
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
    return _execute(folder, folder.read_config(), True, quiet, stop_after)


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
    family, config = preset(start) if stage == "pretrain" else _described(start)
    kind = task_named(task, family.modality)
    if modality(data, **{k: v for k, v in settings.items() if k in ("text_column", "image_column")}) != family.modality:
        raise UserError(f"{start} reads {family.modality}s, but {data} are not {family.modality}s.")
    rows = 0
    if kind.reads == "labelled":
        columns = ("text_column", "image_column", "label_column", "where")
        rows = len(read_labelled(data, **{k: v for k, v in settings.items() if k in columns}))
    try:
        run = RunConfig(
            stage=stage,
            start=start,
            task=kind.name,
            data=_absolute(data),
            validation=_absolute(settings.pop("validation")) if "validation" in settings else None,
            recipe=_recipe(default_recipe(stage, kind.name, config.width, rows), recipe),
            **settings,
        )
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(str(part) for part in problem["loc"])
        raise UserError(f"{name or 'settings'}: {problem['msg'].removeprefix('Value error, ')}.") from error
    folder = RunFolder.create(out, overwrite)
    return _execute(folder, run, False, quiet, stop_after)


def _described(start: str) -> tuple[Family, TransformerConfig]:
    description = describe(Path(start))
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

    reader = _reader(run, folder, again, say)
    ask = _ask(run, reader, folder, again)
    family, config = _config(run, reader, ask)
    if isinstance(config, ImageConfig):
        ask = replace(ask, tokens_per_image=config.tokens)
    prepared = _prepare(run, ask, reader, family, quiet)
    for note in prepared.notes:
        say(note)
    task = prepared.task
    _check_same_data(folder, prepared, again)

    model = _model(run, family, config, task, device, say)
    check_space(folder.path, model)
    if not again:
        task.start(model)
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


# ------------------------------------------------------------------------------------------------ what is read


def _reader(run: RunConfig, folder: RunFolder, again: bool, say: Say) -> Reader:
    """The tokenizer or the image processor: the run's own, the start's, or a new one."""
    family = preset(run.start)[0] if run.stage == "pretrain" else describe(Path(run.start)).family
    if family.modality == "image":
        return _image_processor(run, folder, again, say)
    if again:
        return Tokenizer.load(folder.path)
    if run.stage == "finetune" or run.tokenizer:
        start = find_folder(run.start) if run.stage == "finetune" else Path(str(run.tokenizer))
        return Tokenizer.load(start)
    documents = Documents(run.data, text_column=run.text_column, lines=run.lines, where=run.where)
    kept = cache_folder() / "vocabularies" / f"{documents.fingerprint()}-{run.vocab_size or 'auto'}"
    if not (kept / "tokenizer.json").is_file():
        status = console.status("Learning a vocabulary from the text ...") if console.is_terminal else None
        with status or contextlib.nullcontext():
            tokenizer = train_wordpiece(documents, run.vocab_size)
        kept.mkdir(parents=True, exist_ok=True)
        tokenizer.save(kept, 512)
        say(f"Learnt a vocabulary of {tokenizer.vocab_size:,} word pieces from the text.")
    return Tokenizer.load(kept)


def _image_processor(run: RunConfig, folder: RunFolder, again: bool, say: Say) -> ImageProcessor:
    name = "preprocessor_config.json"
    if again:
        return ImageProcessor.from_dict(read_json(folder.path / name))
    if run.stage == "finetune":
        start = find_folder(run.start)
        config = describe(start).config
        assert isinstance(config, ImageConfig)
        kept = read_json(start / name) if (start / name).is_file() else {}
        size = (run.image_size, run.image_size) if run.image_size else config.image_size
        return replace(ImageProcessor.from_dict(kept), size=size)
    config = preset(run.start)[1]
    assert isinstance(config, ImageConfig)
    if run.image_size:
        return ImageProcessor(size=(run.image_size, run.image_size))
    rows = read_labelled(
        run.data,
        image_column=run.image_column,
        label_column=run.label_column,
        where=run.where,
        need_labels=False,
    )
    patch = run.patch_size or config.patch_size
    items = cast("Sequence[Path | bytes]", rows.inputs)
    side = max(Images(items, rows.origins, ImageProcessor(size=config.image_size), 0).median_size())
    # A grid of 4 x 4 patches at least; never larger than the preset's own pictures.
    fitting = min(max(-(-side // patch), 4) * patch, config.image_size[0] // patch * patch)
    if fitting < config.image_size[0]:
        say(
            f"The pictures are small, so the model reads {fitting} x {fitting} pixels instead of "
            f"{config.image_size[0]} x {config.image_size[0]} (--image-size to change it)."
        )
    return ImageProcessor(size=(fitting, fitting))


def _ask(run: RunConfig, reader: Reader, folder: RunFolder, again: bool) -> Ask:
    if run.max_length:
        length = run.max_length
    else:
        length = 256
        card = Path(run.start) / CARD
        if run.stage == "finetune" and card.is_file():
            length = int(read_json(card).get("max_length") or length)
    config = preset(run.start)[1] if run.stage == "pretrain" else describe(Path(run.start)).config
    if isinstance(config, TextConfig):
        if length > config.max_length:
            if run.max_length:
                raise UserError(
                    f"--max-length {length}: {run.start} has positions for {config.max_length} tokens only."
                )
            length = config.max_length
        if length < 8:
            raise UserError(f"--max-length {length}: texts need at least 8 tokens, two of them special.")
    return Ask(
        data=run.data,
        validation=run.validation,
        text_column=run.text_column,
        image_column=run.image_column,
        label_column=run.label_column,
        where=run.where,
        lines=run.lines,
        whole_word=run.whole_word,
        problem=run.problem,
        max_length=length,
        seed=run.seed,
    )


def _prepare(run: RunConfig, ask: Ask, reader: Reader, family: Family, quiet: bool) -> Prepared:
    kind = task_named(run.task, family.modality)
    if quiet or not console.is_terminal:
        return kind.prepare(ask, reader, lambda documents: None)
    with console.status("Reading the data ...") as status:
        return kind.prepare(ask, reader, lambda documents: status.update(f"Tokenising: {documents:,} documents"))


def _check_same_data(folder: RunFolder, prepared: Prepared, again: bool) -> None:
    if not again:
        return
    before = read_json(folder.path / CARD)["data"].get("fingerprint")
    if before != prepared.facts.get("fingerprint"):
        raise UserError(
            f"The data have changed since the run in {folder.path} began, so it can not go on exactly. "
            "Bring them back, or begin a new run."
        )


# ------------------------------------------------------------------------------------------------ the model


def _config(run: RunConfig, reader: Reader, ask: Ask) -> tuple[Family, TransformerConfig]:
    """The family and the sizes that the run's model has, checked before any weight is moved."""
    family, config = preset(run.start) if run.stage == "pretrain" else _described(run.start)
    changes: dict[str, Any] = {
        "dropout": run.recipe.dropout,
        "attention_dropout": run.recipe.attention_dropout,
    }
    if isinstance(config, TextConfig):
        assert isinstance(reader, Tokenizer)
        if run.stage == "pretrain":
            changes |= {"vocab_size": reader.vocab_size, "pad_token_id": reader.pad}
        elif reader.vocab_size > config.vocab_size:
            raise UserError(
                f"{run.start}: the tokenizer has {reader.vocab_size:,} ids, but the model was built for "
                f"{config.vocab_size:,}. They do not belong together; take both from one folder."
            )
    if isinstance(config, ImageConfig):
        assert isinstance(reader, ImageProcessor)
        changes["image_size"] = reader.size
        if run.patch_size and run.stage == "pretrain":
            changes["patch_size"] = run.patch_size
    return family, make_config(family.config, changes, run.start, base=config)


def _model(
    run: RunConfig, family: Family, config: TransformerConfig, task: Task, device: torch.device, say: Say
) -> Model:
    if run.stage == "pretrain":
        with torch.device(device):
            return Model(family, config, task.way_out, task.labels, task.problem)
    loaded = read_model(
        Path(run.start),
        way_out=task.way_out,
        labels=task.labels,
        problem=task.problem,
        device=device,
        **config.model_dump(),
    )
    trunk = sum(name.startswith("trunk.") for name in loaded.taken)
    say(f"From {run.start}: all {trunk} tensors of the trunk, {len(loaded.taken) - trunk} of the head.")
    before = describe(Path(run.start)).labels
    if before and task.way_out == describe(Path(run.start)).way_out and before != task.labels:
        say(f"The start knew other labels ({', '.join(before[:6])}{', ...' if len(before) > 6 else ''}).")
    if loaded.new:
        say(f"New, from random numbers: {', '.join(name.removeprefix('head.') for name in loaded.new)}.")
    if loaded.unused:
        shown = ", ".join(loaded.unused[:4]) + (", ..." if len(loaded.unused) > 4 else "")
        say(f"In the folder, but not needed: {shown}.")
    return loaded.model


# ------------------------------------------------------------------------------------------------ what is written


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
        "labels": list(model.labels),
        "problem": model.problem,
        "max_length": ask.max_length,
        "data": {"files": list(run.data), **prepared.facts},
        "seed": run.seed,
        "versions": versions(),
    }


def _write_start(folder: RunFolder, run: RunConfig, model: Model, reader: Reader, ask: Ask, prepared: Prepared) -> None:
    """What a resume needs before there is a checkpoint; `run.json` last, since it says that a run has begun."""
    write_json(folder.path / "config.json", config_json(model))
    _save_reader(folder.path, reader, ask.max_length)
    folder.write_card(_card(run, model, ask, prepared))
    folder.write_config(run)


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
    best = folder.checkpoints / BEST
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
