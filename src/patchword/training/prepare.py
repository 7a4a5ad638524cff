"""What a run needs before it can learn: a reader, the data, and a model, from its settings."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from patchword.data.documents import Documents
from patchword.data.extension import extend, pieces_of_new
from patchword.data.image_processor import ImageProcessor
from patchword.data.images import Images
from patchword.data.sources import read_labelled
from patchword.data.store import cache_folder
from patchword.data.tokenizers import Tokenizer, train_tokenizer
from patchword.errors import UserError
from patchword.models.card import read_card
from patchword.models.config import EncoderDecoderConfig, ImageConfig, TextConfig, check_vocabulary
from patchword.models.config_file import ConfigFile, read_json
from patchword.models.family import Family, Model, preset
from patchword.models.folder import CONFIG, describe, find_folder, make_config, read_model
from patchword.models.image_processors import read_image_processor
from patchword.nn.config import ModelConfig
from patchword.tasks.task import Ask, Prepared, Reader, Task, task_named, tasks
from patchword.tasks.text_readers import as_trained
from patchword.training.adapters import adapt
from patchword.training.growth import grow
from patchword.training.run import RunConfig, RunFolder
from patchword.training.tracking import Say, said, working
from patchword.training.tuning import freeze_trunk


def family_of(run: RunConfig) -> tuple[Family, ModelConfig]:
    """The family and the sizes that the run starts from."""
    if run.begins_anew:
        return preset(run.start)
    description = describe(Path(run.start), tasks()[run.task.replace("_", "-")].way_out)
    return description.family, description.config


def reader_for(run: RunConfig, folder: RunFolder, again: bool, quiet: bool) -> Reader:
    """The tokenizer or the image processor: the run's own, the start's, or a new one."""
    say = said(quiet)
    family, config = family_of(run)
    if family.modality == "image":
        return _image_processor(run, folder, again, say)
    way_out = task_named(run.task, family).way_out
    return as_trained(_tokenizer(run, folder, again, family, quiet), family, config, way_out)


def _tokenizer(run: RunConfig, folder: RunFolder, again: bool, family: Family, quiet: bool) -> Tokenizer:
    say = said(quiet)
    if again:
        return Tokenizer.load(folder.path)
    if run.tokenizer or not run.begins_anew:
        start = Path(run.tokenizer or run.start)
        tokenizer = Tokenizer.load(start)
        if tokenizer.unread:
            say(f"{start / 'tokenizer_config.json'}: not read here: {', '.join(tokenizer.unread)}.")
        if run.extend_vocab:
            tokenizer, told = extend(tokenizer, _documents(run), run.extend_vocab)
            say(told)
        return tokenizer
    documents = _documents(run)
    style = family.tokenizer
    if style is None:
        raise UserError(f"No vocabulary is learnt for {family.model_type} models. Give one: --tokenizer FOLDER.")
    kind = hashlib.blake2b(repr(style).encode(), digest_size=8).hexdigest()
    kept = cache_folder() / "vocabularies" / f"{documents.fingerprint()}-{run.vocab_size or 'auto'}-{kind}"
    if not (kept / "tokenizer.json").is_file():
        with working("Training a tokenizer on the text ...", quiet):
            tokenizer = train_tokenizer(documents, style, run.vocab_size)
        _keep(tokenizer, kept)
        say(f"Learnt a vocabulary of {tokenizer.vocab_size:,} word pieces from the text.")
    return Tokenizer.load(kept)


def _documents(run: RunConfig) -> Documents:
    return Documents(run.data, text_column=run.text_column, lines=run.lines, where=run.where)


def _keep(tokenizer: Tokenizer, folder: Path) -> None:
    """Put a vocabulary into the cache, whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent))
    tokenizer.save(temporary, 512)
    with contextlib.suppress(OSError):  # another run was first
        os.replace(temporary, folder)
    shutil.rmtree(temporary, ignore_errors=True)


def _image_processor(run: RunConfig, folder: RunFolder, again: bool, say: Say) -> ImageProcessor:
    if again or not run.begins_anew:
        start = folder.path if again else find_folder(run.start)
        description = describe(start)
        assert isinstance(description.config, ImageConfig)
        processor = read_image_processor(start, description.family, description.config)
        return processor.at((run.image_size, run.image_size)) if run.image_size else processor
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
    patch = run.patch_size or config.stride
    items = cast("Sequence[Path | bytes]", rows.inputs)
    side = max(Images(items, rows.origins, ImageProcessor(size=config.image_size), 0).median_size())
    # A grid of 4 x 4 tokens at least; never larger than the preset's own pictures.
    fitting = min(max(-(-side // patch), 4) * patch, config.image_size[0] // patch * patch)
    if fitting < config.image_size[0]:
        say(
            f"The pictures are small, so the model reads {fitting} x {fitting} pixels instead of "
            f"{config.image_size[0]} x {config.image_size[0]} (--image-size to change it)."
        )
    return ImageProcessor(size=(fitting, fitting))


def ask_for(run: RunConfig) -> Ask:
    """What is asked of the data, with the length of a text and of a picture in tokens."""
    if run.max_length:
        length = run.max_length
    else:
        length = 256
        if not run.begins_anew:
            length = int(read_card(Path(run.start)).get("max_length") or length)
    config = family_of(run)[1]
    if isinstance(config, TextConfig):
        if length > config.max_length:
            if run.max_length:
                raise UserError(
                    f"--max-length {length}: {run.start} has positions for {config.max_length} tokens only."
                )
            length = config.max_length
        if length < 8:
            raise UserError(f"--max-length {length}: texts need at least 8 tokens, special ones included.")
    return Ask(
        data=run.data,
        validation=run.validation,
        test=run.test,
        text_column=run.text_column,
        image_column=run.image_column,
        label_column=run.label_column,
        pair_column=run.pair_column,
        where=run.where,
        lines=run.lines,
        augment=run.augment,
        whole_word=run.whole_word,
        mask_share=run.recipe.mask_share,
        z_loss=run.z_loss,
        prefix=_usual_prefix(run) if run.prefix is None else run.prefix,
        prompt=run.prompt,
        max_target_length=run.max_target_length,
        problem=run.problem,
        windows=run.windows,
        doc_stride=run.doc_stride,
        class_weights=run.class_weights,
        label_smoothing=run.label_smoothing,
        contrast=run.contrast,
        folds=run.seeds if run.cross_validated else 0,
        max_length=length,
        seed=run.seed,
    )


def with_sizes(ask: Ask, config: ModelConfig) -> Ask:
    """With what follows from the sizes of the model that will read it."""
    if isinstance(config, ImageConfig):
        return replace(ask, tokens_per_image=config.tokens)
    if isinstance(config, EncoderDecoderConfig):
        return replace(ask, start_token=config.decoder_start_token_id, writes="answer")
    return ask


def _usual_prefix(run: RunConfig) -> str:
    """What `config.json` of the start puts before a document to be summarized: "summarize: " for T5's own weights."""
    if run.begins_anew:
        return ""
    path = Path(run.start) / CONFIG
    try:
        tasks = ConfigFile(read_json(path)).object("task_specific_params") or ConfigFile({})
        usual = tasks.object("summarization") or ConfigFile({})
        return usual.text("prefix") or ""
    except ValueError as error:
        raise UserError(f"{path}: {error}.") from error


def prepare(run: RunConfig, ask: Ask, reader: Reader, family: Family, quiet: bool) -> Prepared:
    """Read the data, with something to look at meanwhile."""
    kind = task_named(run.task, family)
    with working("Reading the data ...", quiet) as activity:
        return kind.prepare(ask, reader, lambda documents: activity.update(f"Tokenizing: {documents:,} documents"))


def config_for(run: RunConfig, reader: Reader) -> tuple[Family, ModelConfig]:
    """The family and the sizes that the run's model has, checked before any weight is moved."""
    family, config = family_of(run)
    rates = {
        "dropout": run.recipe.dropout,
        "attention_dropout": run.recipe.attention_dropout,
        "activation_dropout": run.recipe.dropout,
    }
    changes: dict[str, Any] = {
        name: rate for name, rate in rates.items() if rate is not None and name in family.config.model_fields
    }
    if isinstance(config, TextConfig):
        assert isinstance(reader, Tokenizer)
        if run.begins_anew:
            changes |= {"vocab_size": reader.vocab_size, "pad_token_id": reader.pad}
            if "decoder_start_token_id" in family.config.model_fields and not reader.has(family.start):
                raise UserError(
                    f"{run.tokenizer}: the tokenizer has no {family.start} token, and every text that "
                    f"{family.model_type} models write begins with it. Let one be learnt from the text (no "
                    "--tokenizer), or take another."
                )
            roles = {"bos_token_id": "bos", "eos_token_id": "eos", "decoder_start_token_id": family.start}
            changes |= {
                field: reader.id(role) if reader.has(role) else None
                for field, role in roles.items()
                if field in family.config.model_fields
            }
        elif run.extend_vocab:
            changes["vocab_size"] = max(config.vocab_size, reader.vocab_size)
        else:
            check_vocabulary(run.start, reader.vocab_size, config)
    if isinstance(config, ImageConfig):
        assert isinstance(reader, ImageProcessor)
        changes["image_size"] = reader.size
        if run.patch_size and run.begins_anew:
            changes["patch_size"] = run.patch_size
    return family, make_config(family.config, changes, run.start, base=config)


def model_for(
    run: RunConfig,
    family: Family,
    config: ModelConfig,
    task: Task,
    reader: Reader,
    device: torch.device,
    say: Say,
) -> tuple[Model, tuple[str, ...]]:
    """The model with the weights that it begins with, told where they are from; what does not learn is frozen.

    Returns:
        It, and the names of the parameters that give the scores of new classes, in a model that is not all new.
    """
    if run.begins_anew:
        with torch.device(device):
            return Model(family, config, task.way_out, task.labels, task.problem), ()
    loaded = read_model(
        Path(run.start),
        way_out=task.way_out,
        labels=task.labels,
        problem=task.problem,
        device=device,
        **config.model_dump(exclude={"vocab_size"} if run.extend_vocab else None),
    )
    trunk = sum(name.startswith("trunk.") for name in loaded.taken)
    say(f"From {run.start}: all {trunk} tensors of the trunk, {len(loaded.taken) - trunk} of the head.")
    before = describe(Path(run.start)).labels
    if before and task.way_out == describe(Path(run.start)).way_out and before != task.labels:
        say(f"The start knew other labels ({', '.join(before[:6])}{', ...' if len(before) > 6 else ''}).")
    if loaded.new:
        say(f"New, from random numbers: {', '.join(name.removeprefix('head.') for name in loaded.new)}.")
        if run.stage == "pretrain" and run.recipe.blend == 1 and run.recipe.tune == "all":
            say("So the start was made for something else; --blend 0.5 keeps more of what it is good at.")
    for text in loaded.notes:
        say(text)
    model = loaded.model
    if run.extend_vocab and isinstance(reader, Tokenizer):
        old = Tokenizer.load(Path(run.start))
        model = grow(model, config, old.vocab_size, pieces_of_new(old, reader))
    if run.recipe.tune == "head":
        freeze_trunk(model)
    elif run.recipe.tune != "all":
        say(adapt(model, run.recipe, loaded.new))
    task.begin(model)
    return model, tuple(name for name in loaded.new if name.removeprefix("head.") in model.head.per_label)
