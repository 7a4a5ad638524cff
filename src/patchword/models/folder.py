"""A model folder is a Hugging Face folder: `config.json` and `model.safetensors`, read and written as they are."""

from __future__ import annotations

import os
import re
import typing
import warnings
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pydantic
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from patchword.data.atomic import as_os_error, write_json
from patchword.errors import Notice, UserError, did_you_mean
from patchword.models.config_file import WITHOUT_EFFECT, ConfigFile, note, read_json, shown
from patchword.models.family import Family, Key, Model, families
from patchword.models.generation_config import GENERATION_CONFIG, KEYS, OLD_KEYS, SEVERAL_TOKENS, TOKENS
from patchword.models.heads import VocabularyHead
from patchword.models.weight_files import WEIGHTS, WeightFiles, has_weights
from patchword.models.weights import Rule, rule_in
from patchword.nn.config import ModelConfig
from patchword.nn.meta import shapes_only

CONFIG = "config.json"
ADAPTER = "adapter_config.json"

WITH_LABELS = ("class", "class_distilled", "token_class")
"""Ways out with classes of their own names."""

PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")
"""What the scores of a class head can mean (`problem_type`)."""


@dataclass(frozen=True)
class Description:
    """What `config.json` says, in our words."""

    family: Family
    config: ModelConfig
    way_out: str
    labels: tuple[str, ...]
    problem: str | None
    notes: tuple[str, ...] = ()
    """What the file says besides, and what nothing is done with: a sentence each."""


@dataclass(frozen=True)
class Loaded:
    """A model from a folder, and what became of each tensor."""

    model: Model
    taken: tuple[str, ...]
    """Our names of the parameters that were read."""
    new: tuple[str, ...]
    """Our names of head parameters that were not there and begin at random."""
    unused: tuple[str, ...]
    """Their names of tensors in the file that nothing asked for."""
    notes: tuple[str, ...] = ()
    """What the folder holds that was not used, or not as its config says: a sentence each."""


def find_folder(start: str | os.PathLike[str]) -> Path:
    """A folder on this machine, or the local copy of a hub repository ("google-bert/bert-base-uncased").

    Raises:
        UserError: there is neither.
    """
    folder = Path(start)
    if folder.is_dir():
        if not (folder / CONFIG).is_file():
            if (folder / ADAPTER).is_file():
                raise UserError(f"{folder} holds an adapter alone. Name what peft's `merge_and_unload()` saves.")
            raise UserError(f"{folder} is no model folder: it has no {CONFIG}.")
        return folder
    name = str(start)
    if name.count("/") > 1 or name.startswith((".", "/", "~")) or folder.exists():
        raise UserError(f"There is no model folder {name}.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        wanted = ["*.json", "*.safetensors", "vocab.txt", "merges.txt", "tokenizer.model"]
        return Path(snapshot_download(name, allow_patterns=wanted))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"'{name}' is no folder here, and no model of that name could be fetched from the Hugging Face hub "
            f"({type(error).__name__}). Check the spelling, or the network if it is a hub name."
        ) from error


# ------------------------------------------------------------------------------------------------ config.json


def describe(folder: Path, wanted: str | None = None) -> Description:
    """Read `config.json`, as transformers 4 or 5 wrote it.

    Args:
        folder: with the file.
        wanted: a head that is asked for. Where the folder's family has none of that name, the one that its trunk
            goes on as is described (a masked autoencoder's encoder is a ViT).

    Raises:
        UserError: an architecture or a setting that is not supported, or fields that contradict each other.
    """
    where = folder / CONFIG
    values = read_json(where)
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in families():
        known = ", ".join(sorted(families()))
        near = did_you_mean(str(kind), families())
        raise UserError(f"{where}: model_type {shown(kind)} is not supported{near} Supported: {known}.")
    if (folder / ADAPTER).exists():
        raise UserError(
            f"{folder} holds {ADAPTER} beside a model; transformers would apply the adapter, which is not supported "
            "here. Save what peft's `merge_and_unload()` returns, or move the adapter's files away."
        )
    family = families()[kind]
    file = ConfigFile(values, family.aliases)
    try:
        _check_required(file, {**_REQUIRED, **family.required, "model_type": kind}, kind)
        family.check(file)
        config = make_config(family.config, _fields(family, file), str(where), names=family.config_names)
        architectures = file.items_of("architectures", str) or []
        by_architecture = {way.architecture: name for name, way in family.ways_out.items()}
        way_out = next((by_architecture[a] for a in architectures if a in by_architecture), "features")
        labels = _labels(file, way_out, family.labels) if way_out in WITH_LABELS else _names(file)
        problem = _problem(file, labels) if way_out in WITH_LABELS else file.text("problem_type")
    except ValueError as error:
        raise UserError(f"{where}: {error}.") from error
    notes = [
        note(
            f"{where}: keys that are not used ({{count}})",
            file.unread(WITHOUT_EFFECT | KEYS | OLD_KEYS | family.unread),
        ),
        note(
            f"{where}: an architecture without its own head here, read as {family.way_out(way_out).architecture}",
            architectures if architectures and not by_architecture.keys() & set(architectures) else (),
        ),
    ]
    if wanted is not None and wanted not in family.ways_out and family.continues_as is not None:
        family = families()[family.continues_as]
        shared = {name: value for name, value in config.model_dump().items() if name in family.config.model_fields}
        config = make_config(family.config, shared, str(where))
    return Description(family, config, way_out, labels, problem, tuple(text for text in notes if text))


_REQUIRED: Mapping[str, Any] = {
    "quantization_config": None,
    "per_layer_config": None,
    "pruned_heads": {},
}
"""Keys that no family here has another value for; a family can say otherwise."""


def _check_required(file: ConfigFile, required: Mapping[str, Any], kind: str) -> None:
    """Keys of which one value is supported.

    Raises:
        ValueError: a key has another one.
    """
    for key, value in required.items():
        said = file.get(key)
        if said is None or (said == value and isinstance(said, bool) == isinstance(value, bool)):
            continue
        if key == "quantization_config":
            method = said.get("quant_method") if isinstance(said, dict) else said
            raise ValueError(
                f"{key} is set ({shown(method)}): quantised weights are not supported. Load the model with "
                "transformers, call `dequantize()`, and save it"
            )
        raise ValueError(f"{key} is {shown(said)}; only {value!r} is supported for {kind} models")


def _fields(family: Family, file: ConfigFile) -> dict[str, Any]:
    """The fields of our config that the file gives."""
    fields = {}
    for ours, theirs in family.config_names.items():
        value = theirs.read(file) if isinstance(theirs, Key) else file.get(theirs)
        # A null is a value where our field can be None (no end token), and otherwise nothing (an old default).
        is_null = not isinstance(theirs, Key) and theirs in file and _may_be_none(family.config, ours)
        if value is not None or is_null:
            fields[ours] = value
    return fields


def _names(file: ConfigFile) -> tuple[str, ...]:
    """The names of `id2label` in the order of their numbers; none where there is none.

    Raises:
        ValueError: the numbers are not 0, 1, 2, ..., or a name is no text, or two are the same.
    """
    given = file.object("id2label")
    if not given:
        return ()
    numbers = {int(key): name for key, name in given.items() if re.fullmatch(r"[0-9]{1,9}", key)}
    if sorted(numbers) != list(range(len(given))):
        raise ValueError(f"the keys of id2label are {shown(list(given))}; they must be the numbers from 0 on")
    names = tuple(
        name if isinstance(name, str) else str(name) if type(name) in (int, float) else ""
        for name in (numbers[i] for i in range(len(numbers)))
    )
    for i, name in enumerate(names):
        if not name or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise ValueError(f"id2label gives class {i} the name {shown(numbers[i])}, where a text is needed")
        if name in names[:i]:
            raise ValueError(
                f"id2label gives classes {names.index(name)} and {i} one name, '{name}'; give each its own"
            )
    return names


def _labels(file: ConfigFile, way_out: str, usual: int) -> tuple[str, ...]:
    """The names of the classes of a head; those of transformers where the file has none.

    Args:
        file: a config.
        way_out: the head.
        usual: classes of the family's models where the file does not give their number.
    """
    if names := _names(file):
        return names
    count = file.whole("num_labels")
    count = usual if count is None else count
    if not 0 < count <= _MOST_CLASSES:
        raise ValueError(f"num_labels is {count}; it must be from 1 to {_MOST_CLASSES:,}")
    return tuple(f"LABEL_{i}" for i in range(count))


_MOST_CLASSES = 1_000_000


def _problem(file: ConfigFile, labels: tuple[str, ...]) -> str | None:
    """What the scores mean, as transformers' pipelines take it: one score alone is a yes or no, unless it is a number.

    Raises:
        ValueError: no such problem, or one that does not go with the number of classes.
    """
    problem = file.text("problem_type")
    if problem is None:
        return "multi_label_classification" if len(labels) == 1 else None
    if problem not in PROBLEMS:
        raise ValueError(f"there is no problem_type '{problem}'; there are {', '.join(PROBLEMS)}")
    if problem == "single_label_classification" and len(labels) == 1:
        raise ValueError(f"problem_type is {problem}, but there is one class, '{labels[0]}'")
    return problem


def surface(notes: Iterable[str]) -> None:
    """Report notes on a folder as `Notice`s."""
    for text in notes:
        warnings.warn(text, Notice, stacklevel=3)


def read_generation_config(folder: Path) -> dict[str, Any]:
    """Keys of `generation_config.json` that are set; without such a file those of `config.json`, as transformers does.

    Raises:
        UserError: the file is not a JSON object, or a token in it is no number.
    """
    path = folder / GENERATION_CONFIG
    raw = read_json(path) if path.is_file() else read_json(folder / CONFIG)
    for key in TOKENS:
        value = raw.get(key)
        ids = value if isinstance(value, list) and key in SEVERAL_TOKENS else [] if value is None else [value]
        if any(type(token) is not int for token in ids):
            where = path if path.is_file() else folder / CONFIG
            raise UserError(f"{where}: {key} is {shown(value)}, where the id of a token is needed.")
    return {key: value for key, value in raw.items() if value is not None and (path.is_file() or key in KEYS)}


def _may_be_none(kind: type[ModelConfig], name: str) -> bool:
    return type(None) in typing.get_args(kind.model_fields[name].annotation)


def make_config(
    kind: type[ModelConfig],
    fields: Mapping[str, Any],
    where: str,
    base: ModelConfig | None = None,
    names: Mapping[str, str | Key] | None = None,
) -> ModelConfig:
    """A checked config from fields, or from another one with some fields changed.

    Args:
        kind: its class.
        fields: by our names.
        where: a message begins with it.
        base: gives the other fields.
        names: what a message calls the fields, where the reader knows them by other names.

    Raises:
        UserError: a field is missing, of the wrong type, or contradicts another.
    """
    try:
        return kind(**((base.model_dump() if base else {}) | dict(fields)))
    except pydantic.ValidationError as error:
        names = names or {}
        problems = "; ".join(
            ".".join(
                str(shown_name if isinstance(shown_name := names.get(str(part)), str) else part) for part in e["loc"]
            )
            + (": " if e["loc"] else "")
            + e["msg"].removeprefix("Value error, ")
            for e in error.errors()
        )
        raise UserError(f"{where}: {problems}.") from error


def config_json(model: Model) -> dict[str, Any]:
    """The `config.json` that transformers 4 and 5 both read."""
    family = model.family
    fields: dict[str, Any] = {
        "architectures": [family.way_out(model.way_out).architecture],
        "model_type": family.model_type,
        "torch_dtype": "float32",
        **family.required,
    }
    for ours, theirs in family.config_names.items():
        value = getattr(model.config, ours)
        if isinstance(theirs, Key):
            fields |= theirs.write(value)
        else:
            fields[theirs] = value
    if model.labels:
        fields["id2label"] = {str(i): label for i, label in enumerate(model.labels)}
        fields["label2id"] = {label: i for i, label in enumerate(model.labels)}
    if model.problem:
        fields["problem_type"] = model.problem
    return fields


# ------------------------------------------------------------------------------------------------ weights


def tensors_of(model: Model) -> dict[str, Tensor]:
    """Every learnt tensor under its Hugging Face name, on the CPU; shared ones once."""
    family = model.family
    way = family.way_out(model.way_out)
    prefix = "" if way.bare else way.prefix or family.prefix
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.tensors().items():
        tensors |= family.rule(name, model.way_out, prefix).write(tensor.detach().cpu(), model.config)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def write_model(model: Model, folder: Path) -> None:
    """Write `config.json`, `model.safetensors` and, where it has one, `generation_config.json`, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(tensors_of(model), folder / WEIGHTS)
    write_json(folder / CONFIG, config_json(model))
    if model.generation:
        write_json(folder / GENERATION_CONFIG, model.generation)


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file so that a kill or a full disk leaves the old one or the new one, whole."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        save_file(dict(tensors), temporary, metadata={"format": "pt"})
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except SafetensorError as error:
        raise as_os_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def read_model(
    folder: Path,
    *,
    way_out: str | None = None,
    labels: tuple[str, ...] | None = None,
    problem: str | None = None,
    device: torch.device | str = "cpu",
    **changes: Any,
) -> Loaded:
    """Build the model of a folder and fill it.

    Args:
        folder: with `config.json` and `model.safetensors` (or its shards and their index).
        way_out: another head than the folder's; what is not in the file then begins at random.
        labels: names of the classes for such a head. The folder's own class head is kept only if they are equal.
        problem: what the scores mean (`Model`).
        device: where the model goes.
        changes: fields of the config to change, e.g. `dropout=0.0` or `image_size=(64, 64)`.

    Raises:
        UserError: a tensor of the trunk (or, when the folder's own head is read, of the head) is missing or has
            another shape; the message names it.
    """
    description = describe(folder, way_out)
    config = description.config
    if changes:
        config = make_config(description.family.config, changes, str(folder / CONFIG), base=config)
    own_labels = description.labels if way_out in (None, description.way_out) else ()
    wanted = _Wanted(way_out, own_labels if labels is None else labels, problem or description.problem)
    with ExitStack() as stack:
        files = WeightFiles(folder, stack, description.family.respelled)
        match = _match(files, description, config, wanted, labels is not None and labels != description.labels)
        model = _build(folder, description, match.config, wanted, torch.device(device))
        if model.way_out == "next_token":
            model.generation = read_generation_config(folder)
        tensors = model.tensors()
        for name, rule in match.rules.items():
            _fill(tensors[name], rule, files, description.config, match.config)
    return Loaded(model, tuple(match.rules), match.new, match.unused, match.notes)


def examine(folder: Path) -> Description:
    """As `describe`; of the weights, where there are some, the headers are checked, and notes tell of them too.

    Raises:
        UserError: as `read_model` does, but for numbers that are not finite.
    """
    description = describe(folder)
    if not has_weights(folder):
        return description
    with ExitStack() as stack:
        files = WeightFiles(folder, stack, description.family.respelled)
        wanted = _Wanted(None, description.labels, description.problem)
        match = _match(files, description, description.config, wanted, False)
    return replace(description, config=match.config, notes=match.notes)


@dataclass(frozen=True)
class _Wanted:
    """The model to build: arguments of `read_model`."""

    way_out: str | None
    labels: tuple[str, ...]
    problem: str | None


@dataclass(frozen=True)
class _Match:
    """How the tensors of a folder are those of a model.

    Attributes:
        config: of the model that they fit.
        rules: where each parameter that is read stands.
        new, unused, notes: as in `Loaded`.
    """

    config: ModelConfig
    rules: Mapping[str, Rule]
    new: tuple[str, ...]
    unused: tuple[str, ...]
    notes: tuple[str, ...]


def _build(
    folder: Path, description: Description, config: ModelConfig, wanted: _Wanted, place: AbstractContextManager[Any]
) -> Model:
    try:
        with place:
            return Model(
                description.family, config, wanted.way_out or description.way_out, wanted.labels, wanted.problem
            )
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{folder / CONFIG}: no model of these sizes can be built: {error}.") from error


def _match(
    files: WeightFiles, description: Description, config: ModelConfig, wanted: _Wanted, other_labels: bool
) -> _Match:
    """Find the tensor of each parameter and compare the shapes; no memory is taken for a model that does not fit.

    Args:
        files: the tensors.
        description: of the folder.
        config: of the model that is wanted.
        wanted: its head.
        other_labels: whether its classes are not the folder's.
    """
    folder, family, was = files.folder, description.family, description.config
    own_head = wanted.way_out in (None, description.way_out)
    notes = list(description.notes)
    prefixes = (family.prefix, *(way.prefix for way in family.ways_out.values() if way.prefix))
    prefix = next((p for p in prefixes if any(name.startswith(p) for name in files.names)), "")
    sizes = _build(folder, description, config, wanted, shapes_only())
    gives_words = isinstance(sizes.head, VocabularyHead)
    ties = _Ties(family, wanted.way_out or description.way_out, prefix, files, gives_words)
    if ties.broken(config):
        config = make_config(family.config, {"tied": False}, str(folder / CONFIG), base=config)
        notes.append(
            f"{folder}: {CONFIG} ties the scores of the words to their embeddings, but '{ties.scores}' in the weights "
            "differs from them; it is used, as transformers does."
        )
        sizes = _build(folder, description, config, wanted, shapes_only())
    replaced = sizes.head.per_label if other_labels else ()
    rules, new = dict[str, Rule](), []
    for name, tensor in sizes.tensors().items():
        rule = rule_in(family.rule(name, sizes.way_out, prefix), files.names)
        if name.startswith("head."):
            absent = not files.names >= set(rule.names(was))
            may_be_new = not own_head or sizes.way_out == "features"
            if name.removeprefix("head.") in replaced or (absent and may_be_new):
                new.append(name)
                continue
        _check(tensor, rule, files, was, config)
        rules[name] = rule
    read = {name for rule in rules.values() for name in rule.names(was)} | ties.copies
    unused = tuple(sorted(name for name in files.names - read if not name.endswith(family.ignored)))
    notes += [text for text in (note(f"{folder}: tensors that are not used ({{count}})", unused),) if text]
    return _Match(config, rules, tuple(new), unused, tuple(notes))


class _Ties:
    """Tensors of a folder that transformers takes for one where its config says so, and where their numbers agree.

    Args:
        family: of the model.
        way_out: its head.
        prefix: of the trunk's names.
        files: the tensors.
        gives_words: whether the head's scores are those of words, and not of classes or spans.

    Raises:
        UserError: a copy of the embeddings has other numbers, and nothing here can use it.
    """

    def __init__(self, family: Family, way_out: str, prefix: str, files: WeightFiles, gives_words: bool) -> None:
        self.files = files
        self.copies: set[str] = set()
        """Names of tensors that are the same as the embeddings."""
        words = next((name for name in family.weight_names if name.endswith("words.weight")), None)
        rule = family.way_out(way_out).names.get("scores.weight") if words and gives_words else None
        self.words = family.rule(f"trunk.{words}", way_out, prefix).names(None)[0] if words else ""
        self.scores = family.rule("head.scores.weight", way_out, prefix).names(None)[0] if rule else ""
        names = files.names
        copies = sorted(
            name for name in names if name.endswith(family.copies) and name not in (self.words, self.scores)
        )
        if words and self.words not in names:
            for name in (self.scores, *copies):
                if name in names:
                    files.alias(self.words, name)
                    break
        for name in copies:
            if not self._same(name):
                raise UserError(
                    f"{files.folder}: '{name}' differs from '{self.words}', of which it should be a copy; such models "
                    "are not supported."
                )
            self.copies.add(name)

    def broken(self, config: ModelConfig) -> bool:
        """Are there scores of the words with numbers of their own, where the config says that they have none?"""
        if not getattr(config, "tied", False) or self.scores not in self.files.names:
            return False
        if self._same(self.scores):
            self.copies.add(self.scores)
            return False
        return True

    def _same(self, name: str) -> bool:
        if self.words not in self.files.names:
            return True
        return torch.equal(self.files.tensor(name), self.files.tensor(self.words))


def _check(ours: Tensor, rule: Rule, files: WeightFiles, was: ModelConfig, now: ModelConfig) -> None:
    """Are there the tensors that a parameter is read from, with the right shape and type? No numbers are read.

    Args:
        ours: the parameter; its shape counts.
        rule: how it stands in the files.
        files: the tensors.
        was, now: the config that they were written for, and the one that is built.
    """
    theirs = rule.names(was)
    folder = files.folder
    if missing := [name for name in theirs if name not in files.names]:
        raise UserError(f"{folder}: the weights hold no tensor '{missing[0]}', which the model needs.")
    if ours.is_floating_point() and (quantised := [name for name in theirs if not files.is_float(name)]):
        raise UserError(
            f"{folder}: '{quantised[0]}' is stored as {files.dtype(quantised[0])}: quantised weights are not "
            "supported. Load the model with transformers, call `dequantize()`, and save it."
        )
    try:
        shape = rule.read(files.shape, was, now).shape
    except (ValueError, RuntimeError, IndexError) as error:
        raise UserError(f"{folder}: '{theirs[0]}' can not be used: {error}.") from error
    if shape != ours.shape:
        raise UserError(
            f"{folder}: '{theirs[0]}' is {list(shape)} in the weights, but {CONFIG} asks for {list(ours.shape)}."
        )


def _fill(ours: Tensor, rule: Rule, files: WeightFiles, was: ModelConfig, now: ModelConfig) -> None:
    """Copy the numbers of a parameter, arguments as in `_check`."""
    tensor = rule.read(files.tensor, was, now)
    # A sum is cheaper than a look at each number, and no finite weights sum up to infinity.
    if tensor.is_floating_point() and not tensor.sum().isfinite():
        for name in rule.names(was):
            if not files.tensor(name).isfinite().all():
                raise UserError(f"{files.folder}: '{name}' holds numbers that are not finite (NaN or infinity).")
    with torch.no_grad():
        ours.copy_(tensor)
