"""A model folder is a Hugging Face folder: `config.json` and `model.safetensors`, read and written as they are."""

from __future__ import annotations

import json
import os
import tempfile
import typing
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from patchword.errors import UserError, did_you_mean
from patchword.models.family import Family, Key, Model, families
from patchword.models.weights import Get, Rule, rule_in
from patchword.nn.config import ModelConfig

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"

WITH_LABELS = ("class", "class_distilled", "token_class")
"""Ways out with classes of their own names."""

# What LayerNorm's weight and bias are called in files converted from TensorFlow checkpoints.
_OLD_ENDINGS = {".gamma": ".weight", ".beta": ".bias"}


@dataclass(frozen=True)
class Description:
    """What `config.json` says, in our words."""

    family: Family
    config: ModelConfig
    way_out: str
    labels: tuple[str, ...]
    problem: str | None


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


def find_folder(start: str | os.PathLike[str]) -> Path:
    """A folder on this machine, or the local copy of a hub repository ("google-bert/bert-base-uncased").

    Raises:
        UserError: there is neither.
    """
    folder = Path(start)
    if folder.is_dir():
        if not (folder / CONFIG).is_file():
            if (folder / "adapter_config.json").is_file():
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


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        UserError: no such file, not JSON, or not an object.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path.parent} has no {path.name}.") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can not be read as JSON: {error}.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object.")
    return value


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one, whole."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp's own mode keeps everyone else out
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object, atomically.

    A byte of a path that is not UTF-8, which Python keeps as a lone surrogate, is written as the escape of it, so that
    reading the file gives the same path again.
    """
    write_file(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))


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
    raw = read_json(folder / CONFIG)
    where = folder / CONFIG
    kind = raw.get("model_type")
    if kind not in families():
        known = ", ".join(sorted(families()))
        near = did_you_mean(str(kind), families())
        raise UserError(f"{where}: model_type '{kind}' is not supported{near} Supported: {known}.")
    family = families()[kind]
    for key, value in family.required.items():
        if raw.get(key, value) not in (value, None):
            raise UserError(f"{where}: {key} is {raw[key]!r}; only {value!r} is supported for {kind} models.")
    fields = {}
    for ours, theirs in family.config_names.items():
        try:
            value = theirs.read(raw) if isinstance(theirs, Key) else raw.get(theirs)
        except ValueError as error:
            raise UserError(f"{where}: {error}.") from error
        # A null is a value where our field can be None (no end token), and otherwise nothing (an old default).
        is_null = not isinstance(theirs, Key) and theirs in raw and _may_be_none(family.config, ours)
        if value is not None or is_null:
            fields[ours] = value
    config = make_config(family.config, fields, str(where))
    architectures = raw.get("architectures") or []
    by_architecture = {way.architecture: name for name, way in family.ways_out.items()}
    way_out = next((by_architecture[a] for a in architectures if a in by_architecture), "features")
    # transformers leaves the names out where they are its own, which are two.
    id2label = raw.get("id2label") or ({"0": "LABEL_0", "1": "LABEL_1"} if way_out in WITH_LABELS else {})
    labels = tuple(str(id2label[key]) for key in sorted(id2label, key=int))
    if wanted is not None and wanted not in family.ways_out and family.continues_as is not None:
        family = families()[family.continues_as]
        shared = {name: value for name, value in config.model_dump().items() if name in family.config.model_fields}
        config = make_config(family.config, shared, str(where))
    return Description(family, config, way_out, labels, raw.get("problem_type"))


def _may_be_none(kind: type[ModelConfig], name: str) -> bool:
    return type(None) in typing.get_args(kind.model_fields[name].annotation)


def make_config(
    kind: type[ModelConfig],
    fields: Mapping[str, Any],
    where: str,
    base: ModelConfig | None = None,
) -> ModelConfig:
    """A checked config from fields, or from another one with some fields changed.

    Raises:
        UserError: a field is missing, of the wrong type, or contradicts another.
    """
    try:
        return kind(**((base.model_dump() if base else {}) | dict(fields)))
    except pydantic.ValidationError as error:
        problems = "; ".join(
            ".".join(str(part) for part in e["loc"])
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
    """Write `config.json` and `model.safetensors`, each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(tensors_of(model), folder / WEIGHTS)
    write_json(folder / CONFIG, config_json(model))


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
        raise OSError(f"{path} could not be written: {error}") from error
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
    family = description.family
    config = description.config
    if changes:
        config = make_config(family.config, changes, str(folder / CONFIG), base=config)
    own_labels = description.labels if way_out in (None, description.way_out) else ()
    with torch.device(device):
        model = Model(
            family,
            config,
            way_out or description.way_out,
            own_labels if labels is None else labels,
            problem or description.problem,
        )
    with ExitStack() as stack:
        names, get = _open_weights(folder, stack, family.respelled)
        prefixes = (family.prefix, *(way.prefix for way in family.ways_out.values() if way.prefix))
        prefix = next((p for p in prefixes if any(name.startswith(p) for name in names)), "")
        replaced = model.head.per_label if labels is not None and labels != description.labels else ()
        taken, new, read = [], [], set[str]()
        for name, tensor in model.tensors().items():
            rule = rule_in(family.rule(name, model.way_out, prefix), names)
            if name.startswith("head."):
                absent = not names.keys() >= set(rule.names(description.config))
                may_be_new = way_out not in (None, description.way_out) or model.way_out == "features"
                if name.removeprefix("head.") in replaced or (absent and may_be_new):
                    new.append(name)
                    continue
            _fill(tensor, rule, names, get, folder, description.config, config)
            taken.append(name)
            read.update(rule.names(description.config))
    unused = sorted(name for name in names if name not in read and not name.endswith(family.ignored))
    return Loaded(model, tuple(taken), tuple(new), tuple(unused))


def _fill(
    ours: Tensor,
    rule: Rule,
    names: Mapping[str, str],
    get: Get,
    folder: Path,
    was: ModelConfig,
    now: ModelConfig,
) -> None:
    theirs = rule.names(was)
    missing = [name for name in theirs if name not in names]
    if missing:
        raise UserError(f"{folder}: the weights hold no tensor '{missing[0]}', which the model needs.")
    try:
        tensor = rule.read(get, was, now)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{folder}: '{theirs[0]}' can not be used: {error}.") from error
    if tensor.shape != ours.shape:
        raise UserError(
            f"{folder}: '{theirs[0]}' is {list(tensor.shape)} in the weights, but {CONFIG} asks for {list(ours.shape)}."
        )
    with torch.no_grad():
        ours.copy_(tensor)


def _open_weights(folder: Path, stack: ExitStack, respelled: Mapping[str, str]) -> tuple[dict[str, str], Get]:
    """The tensors' names (today's spelling -> the file's own) and how to read one."""
    if (folder / WEIGHTS).is_file():
        files = [WEIGHTS]
    elif (folder / INDEX).is_file():
        files = sorted(set(read_json(folder / INDEX)["weight_map"].values()))
    elif (folder / "pytorch_model.bin").is_file():
        raise UserError(
            f"{folder} has its weights in pytorch_model.bin, a pickle, which can run any code when opened. Convert it "
            "where you trust it: transformers' AutoModel.from_pretrained(folder).save_pretrained(new_folder)."
        )
    else:
        raise UserError(f"{folder} has no {WEIGHTS}.")
    spelling, handles = {}, {}
    for file in files:
        try:
            handle = stack.enter_context(safe_open(folder / file, framework="pt"))
        except (SafetensorError, OSError) as error:
            raise UserError(f"{folder / file} can not be read: {error}. Is it complete?") from error
        names = handle.keys()
        for name in names:
            modern = name
            for old, new in _OLD_ENDINGS.items():
                if name.endswith(old):
                    modern = name.removesuffix(old) + new
            for other, ours in respelled.items():
                if name.startswith(other):
                    modern = ours + name.removeprefix(other)
            spelling[modern] = name
            handles[modern] = handle

    def get(name: str) -> Tensor:
        tensor: Tensor = handles[name].get_tensor(spelling[name])
        return tensor.float() if tensor.is_floating_point() else tensor

    return spelling, get
