"""One vector of each input: pooling, and what the modules of a sentence-transformers folder add to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from patchword.data.tokenizers import Tokenizer
from patchword.errors import UserError
from patchword.models.config_file import ConfigFile, read_json
from patchword.models.folder import surface
from patchword.nn.packing import Packed

MODULES = "modules.json"
_TRANSFORMER = "sentence_bert_config.json"
_PROMPTS = "config_sentence_transformers.json"


def _weighted_mean(sequence: Tensor, skipped: int) -> Tensor:
    weights = torch.arange(1, len(sequence) + 1, device=sequence.device, dtype=sequence.dtype)[skipped:]
    return weights @ sequence[skipped:] / weights.sum()


POOLS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "class": lambda sequence, skipped: sequence[skipped],
    "max": lambda sequence, skipped: sequence[skipped:].amax(0),
    "mean": lambda sequence, skipped: sequence[skipped:].mean(0),
    "mean_sqrt_len": lambda sequence, skipped: sequence[skipped:].sum(0) / (len(sequence) - skipped) ** 0.5,
    "weighted_mean": _weighted_mean,
    "last": lambda sequence, skipped: sequence[-1],
}
"""Name -> from the tokens of a sequence `[l, width]`, of which so many are skipped, to a vector `[width]`."""

# In the order in which sentence-transformers joins several.
_MODES = {
    "cls": ("class", "pooling_mode_cls_token"),
    "max": ("max", "pooling_mode_max_tokens"),
    "mean": ("mean", "pooling_mode_mean_tokens"),
    "mean_sqrt_len_tokens": ("mean_sqrt_len", "pooling_mode_mean_sqrt_len_tokens"),
    "weightedmean": ("weighted_mean", "pooling_mode_weightedmean_tokens"),
    "lasttoken": ("last", "pooling_mode_lasttoken"),
}
_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Identity": lambda x: x,
    "Tanh": torch.tanh,
    "ReLU": F.relu,
    "GELU": F.gelu,
    "SiLU": F.silu,
    "Sigmoid": torch.sigmoid,
}


@dataclass(frozen=True)
class SentenceVectors:
    """How the tokens of an input become its vector.

    Args:
        pools: names in `POOLS`, whose vectors are joined.
        steps: what the vectors `[n, width]` go through then.
        max_length: tokens of a text at most, where the folder says so; it takes the place of `model_max_length`.
        lowercase: whether a text becomes lower case first.
        prompt: text before each text.
        pools_prompt: whether the tokens of the prompt are pooled too.
    """

    pools: tuple[str, ...] = ("mean",)
    steps: tuple[Callable[[Tensor], Tensor], ...] = field(default=())
    max_length: int | None = None
    lowercase: bool = False
    prompt: str = ""
    pools_prompt: bool = True

    def pooled_by(self, pool: str | None) -> SentenceVectors:
        """The same with this pooling, where one is given.

        Raises:
            UserError: there is no such pooling.
        """
        if pool is None:
            return self
        if pool not in POOLS:
            raise UserError(f"There is no pooling '{pool}'; there are {', '.join(POOLS)}.")
        return replace(self, pools=(pool,))

    def tokens_of_prompt(self, tokenizer: Tokenizer) -> int:
        """How many tokens at the start of a text are not pooled."""
        if not self.prompt or self.pools_prompt:
            return 0
        ids = [*tokenizer.before, *tokenizer.encode([self.prompt])[0], *tokenizer.after]
        return len(ids) - bool(tokenizer.is_special[ids[-1]])

    def __call__(self, hidden: Packed, skipped: int = 0) -> Tensor:
        """`[T, width]` -> `[n, width of a vector]`.

        Args:
            hidden: the model's vectors of tokens.
            skipped: tokens at the start of each sequence that are not pooled.
        """
        rows = [
            torch.cat([POOLS[pool](sequence, skipped) for pool in self.pools])
            for sequence in hidden.values.float().split(list(hidden.layout.lengths))
        ]
        vectors = torch.stack(rows)
        for step in self.steps:
            vectors = step(vectors)
        return vectors


def read_sentence_vectors(folder: Path) -> SentenceVectors:
    """What a sentence-transformers folder says; the mean of all tokens where a folder is none.

    A Notice names the keys that nothing reads.

    Raises:
        UserError: the files can not be read, or ask for what is not supported.
    """
    if not (folder / MODULES).exists():
        return SentenceVectors()
    kinds = _read_modules(folder)
    names = [kind for kind, _ in kinds]
    if names[:2] != ["Transformer", "Pooling"] or names.count("Pooling") > 1 or names.count("Transformer") > 1:
        raise UserError(
            f"{folder / MODULES}: the modules {', '.join(names)} are not supported; a Transformer and a Pooling come "
            "first, then Dense and Normalize."
        )
    if kinds[0][1] != folder:
        raise UserError(
            f"{folder / MODULES}: the Transformer lies in {kinds[0][1].name}; it must lie beside this file."
        )
    pools, pools_prompt = _read_pooling(kinds[1][1])
    steps = tuple(_STEPS[kind](path) for kind, path in kinds[2:])
    config = _optional(folder / _TRANSFORMER)
    length = config.get("max_seq_length")
    if length is not None and (type(length) is not int or length < 1):
        raise UserError(f"{folder / _TRANSFORMER}: max_seq_length is {length!r}; a whole number from 1 on is wanted.")
    for key, usual in (("transformer_task", "feature-extraction"), ("module_output_name", "token_embeddings")):
        if config.get(key, usual) != usual:
            raise UserError(f"{folder / _TRANSFORMER}: {key} '{config[key]}' is not supported, only '{usual}'.")
    lowercase = _flag(config, "do_lower_case", False, folder / _TRANSFORMER)
    _tell(folder / _TRANSFORMER, config, ("modality_config", "unpad_inputs"))
    return SentenceVectors(pools, steps, length, lowercase, _read_prompt(folder / _PROMPTS), pools_prompt)


def _read_modules(folder: Path) -> list[tuple[str, Path]]:
    """The class and the folder of each module."""
    path = folder / MODULES
    try:
        items = json.loads(path.read_text("utf-8"))
        modules = [(str(item["type"]), str(item["path"])) for item in items]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise UserError(f"{path} can not be read: a list of modules, each with type and path, is wanted.") from error
    found = []
    for kind, place in modules:
        package, _, name = kind.rpartition(".")
        if package.partition(".")[0] != "sentence_transformers" or name not in {"Transformer", "Pooling", *_STEPS}:
            raise UserError(f"{path}: the module {kind} is not supported; there are {', '.join(_STEPS)} after pooling.")
        if Path(place).is_absolute() or ".." in Path(place).parts:
            raise UserError(f"{path}: the path {place!r} of {name} leads out of the folder.")
        found.append((name, folder / place))
    return found


def _read_pooling(folder: Path) -> tuple[tuple[str, ...], bool]:
    path = folder / "config.json"
    config = ConfigFile(read_json(path))
    usual = [mode for mode, (_, key) in _MODES.items() if _flag(config, key, False, path)] or ["mean"]
    given = config.get("pooling_mode", usual)
    modes = [given] if isinstance(given, str) else given
    if not isinstance(modes, list) or not modes or not all(isinstance(mode, str) and mode in _MODES for mode in modes):
        raise UserError(f"{path}: there is no pooling_mode {given!r}; there are {', '.join(_MODES)}.")
    include = _flag(config, "include_prompt", True, path)
    _tell(path, config, ("word_embedding_dimension", "embedding_dimension"))
    return tuple(_MODES[mode][0] for mode in modes), include


def _read_prompt(path: Path) -> str:
    """The text before each text; none where the folder names no default."""
    config = _optional(path)
    name, prompts = config.get("default_prompt_name"), config.get("prompts") or {}
    # The version, and how vectors are compared, change no vector.
    _tell(path, config, ("__version__", "similarity_fn_name", "model_type"))
    if name is None:
        return ""
    prompt = prompts.get(name) if isinstance(prompts, Mapping) and isinstance(name, str) else None
    if not isinstance(prompt, str):
        raise UserError(f"{path}: default_prompt_name is {name!r}, but prompts has no text of that name.")
    return prompt


def _dense(folder: Path) -> Callable[[Tensor], Tensor]:
    path = folder / "config.json"
    config = ConfigFile(read_json(path))
    _check_names(path, config)
    if config.get("use_residual", False):
        raise UserError(f"{path}: use_residual of a Dense module is not supported.")
    given = config.get("activation_function", "torch.nn.modules.activation.Tanh")
    package, _, name = str(given).rpartition(".")
    if package.partition(".")[0] != "torch" or name not in _ACTIVATIONS:
        raise UserError(f"{path}: the activation_function {given} is not supported; {', '.join(_ACTIVATIONS)} are.")
    sizes = config.get("in_features"), config.get("out_features")
    bias = _flag(config, "bias", True, path)
    _tell(path, config)
    file = folder / "model.safetensors"
    if not file.is_file():
        raise UserError(f"{folder} has no {file.name}. Save the model with a sentence-transformers that writes it.")
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} can not be read: {error}.") from error
    wanted = {"linear.weight": sizes[::-1]} | ({"linear.bias": sizes[1:]} if bias else {})
    if {key: tuple(tensor.shape) for key, tensor in tensors.items()} != wanted:
        raise UserError(f"{file}: the tensors do not fit {path}, which asks for {wanted}.")
    weight, offset = tensors["linear.weight"].float(), tensors["linear.bias"].float() if bias else None

    def step(vectors: Tensor) -> Tensor:
        if vectors.shape[1] != weight.shape[1]:
            raise UserError(
                f"{path}: in_features is {weight.shape[1]}, but the vectors have {vectors.shape[1]} numbers."
            )
        there = None if offset is None else offset.to(vectors.device)
        return _ACTIVATIONS[name](F.linear(vectors, weight.to(vectors.device), there))

    return step


def _normalize(folder: Path) -> Callable[[Tensor], Tensor]:
    config = _optional(folder / "config.json")
    _check_names(folder / "config.json", config)
    _tell(folder / "config.json", config)
    return lambda vectors: F.normalize(vectors, dim=-1)


def _dropout(folder: Path) -> Callable[[Tensor], Tensor]:
    """It acts only while training."""
    return lambda vectors: vectors


_STEPS: dict[str, Callable[[Path], Callable[[Tensor], Tensor]]] = {
    "Dense": _dense,
    "Normalize": _normalize,
    "Dropout": _dropout,
}


def _check_names(path: Path, config: ConfigFile) -> None:
    for key in ("module_input_name", "module_output_name"):
        if config.get(key) not in (None, "sentence_embedding"):
            raise UserError(f"{path}: {key} '{config[key]}' is not supported, only 'sentence_embedding'.")


def _optional(path: Path) -> ConfigFile:
    return ConfigFile(read_json(path) if path.exists() else {})


def _flag(config: ConfigFile, key: str, usual: bool, path: Path) -> bool:
    value = config.get(key, usual)
    if not isinstance(value, bool):
        raise UserError(f"{path}: {key} is {value!r}; true or false is wanted.")
    return value


def _tell(path: Path, config: ConfigFile, known: tuple[str, ...] = ()) -> None:
    if unread := config.unread(known):
        surface([f"{path}: not read here: {', '.join(unread)}."])
