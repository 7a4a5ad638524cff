"""The tensors of a model folder: `model.safetensors`, or shards and their index. Headers first, numbers when needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from patchword.errors import UserError
from patchword.models.config_file import read_json, shown

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

# What LayerNorm's weight and bias are called in files converted from TensorFlow checkpoints.
_OLD_ENDINGS = {".gamma": ".weight", ".beta": ".bias"}
_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Types of weights as safetensors calls them; any other is of quantised weights, or of no weights."""


class WeightFiles:
    """The tensors of a folder by their names today.

    Args:
        folder: with the files.
        stack: closes them.
        respelled: beginnings of names -> how they are spelt today.

    Raises:
        UserError: there are none, or they can not be read, or they contradict each other.
    """

    def __init__(self, folder: Path, stack: ExitStack, respelled: Mapping[str, str]) -> None:
        self.folder = folder
        self._handles: dict[str, tuple[Any, str]] = {}
        self._aliases: dict[str, str] = {}
        for file, wanted in _files(folder).items():
            try:
                handle = stack.enter_context(safe_open(folder / file, framework="pt"))
            except (SafetensorError, OSError) as error:
                raise UserError(f"{folder / file} can not be read: {error}. Is it complete?") from error
            there = handle.keys()
            if missing := sorted(wanted - set(there)):
                raise UserError(f"{folder / INDEX}: '{missing[0]}' should be in {file}, which does not hold it.")
            for name in there:
                today = _today(name, respelled)
                if today in self._handles:
                    raise UserError(f"{folder}: the weights hold '{today}' twice.")
                self._handles[today] = handle, name

    @property
    def names(self) -> set[str]:
        """Of all tensors."""
        return self._handles.keys() | self._aliases.keys()

    def alias(self, name: str, stored: str) -> None:
        """Let a tensor be found under the name of another one that the files lack."""
        self._aliases[name] = stored

    def _find(self, name: str) -> tuple[Any, str]:
        return self._handles[self._aliases.get(name, name)]

    def dtype(self, name: str) -> str:
        """The type of its numbers, as safetensors calls it."""
        handle, stored = self._find(name)
        return str(handle.get_slice(stored).get_dtype())

    def is_float(self, name: str) -> bool:
        """Whether its numbers are weights as they are."""
        return self.dtype(name) in _DTYPES

    def shape(self, name: str) -> Tensor:
        """A tensor of that shape without numbers."""
        handle, stored = self._find(name)
        return torch.empty(handle.get_slice(stored).get_shape(), device="meta")

    def tensor(self, name: str) -> Tensor:
        """Its numbers, in fp32 where they are fractions."""
        handle, stored = self._find(name)
        tensor: Tensor = handle.get_tensor(stored)
        return tensor.float() if tensor.is_floating_point() else tensor


def has_weights(folder: Path) -> bool:
    """Whether there are weights, or what should lead to them."""
    return any((folder / name).exists() for name in (WEIGHTS, INDEX, "pytorch_model.bin"))


def _today(name: str, respelled: Mapping[str, str]) -> str:
    for old, new in _OLD_ENDINGS.items():
        if name.endswith(old):
            name = name.removesuffix(old) + new
    for other, ours in respelled.items():
        if name.startswith(other):
            name = ours + name.removeprefix(other)
    return name


def _files(folder: Path) -> dict[str, set[str]]:
    """Files of weights -> names of the tensors that each must hold by an index."""
    if (folder / WEIGHTS).is_file():
        return {WEIGHTS: set()}
    if (folder / INDEX).exists():
        return _indexed(folder)
    if (folder / "pytorch_model.bin").is_file():
        raise UserError(
            f"{folder} has its weights in pytorch_model.bin, a pickle, which can run any code when opened. Convert it "
            "where you trust it: transformers' AutoModel.from_pretrained(folder).save_pretrained(new_folder)."
        )
    if (folder / WEIGHTS).exists():  # a pipe would be waited for
        raise UserError(f"{folder / WEIGHTS} is not a regular file.")
    raise UserError(f"{folder} has no {WEIGHTS}.")


def _indexed(folder: Path) -> dict[str, set[str]]:
    index = folder / INDEX
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise UserError(
            f"{index}: weight_map is {shown(places)}; it must map the name of each tensor to the file that holds it."
        )
    files: dict[str, set[str]] = {}
    for name, file in places.items():
        if not isinstance(file, str) or not file:
            raise UserError(f"{index}: weight_map gives '{name}' the file {shown(file)}, where a name is needed.")
        files.setdefault(file, set()).add(name)
    for file in files:
        # The path is looked at as it is written: a link inside of the folder may lead anywhere (the hub's cache does).
        parts = [PurePath(file), PureWindowsPath(file)]
        if any(path.is_absolute() or path.drive or ".." in path.parts for path in parts) or "\0" in file:
            raise UserError(f"{index}: weight_map names the file '{file}', which is outside of the folder.")
        # Of `os.path`, for to `Path` a name that is too long is an error.
        if not os.path.isfile(folder / file):
            kind = "which is not a regular file" if os.path.exists(folder / file) else "which is not there"
            raise UserError(f"{index}: weight_map names the file '{file}', {kind}.")
    return dict(sorted(files.items()))
