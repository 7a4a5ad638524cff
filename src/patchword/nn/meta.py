"""Modules that have shapes and no numbers, for everything that is known before the weights are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_RANDOM = ("normal_", "uniform_")


class _Uninitialized(TorchFunctionMode):
    """Functions that would fill a tensor with initial values leave it as it is."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _RANDOM or (name.endswith("_") and getattr(func, "__module__", "") == nn.init.__name__):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Build modules on the meta device, without the calls that initialize them.

    torch 2.13 loads its compiler for random numbers on that device, which takes as long as importing the rest of torch.
    """
    with torch.device("meta"), _Uninitialized():
        yield
