"""In which type to compute, decided by what the hardware runs fast."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from patchword.errors import UserError


def choose_precision(wanted: str, device: torch.device) -> tuple[str, Callable[[], AbstractContextManager[Any]]]:
    """("fp32" or "bf16", what makes the context to compute in).

    "auto" takes bf16 where products in it are faster. That is measured: a CPU without bf16 units runs them
    hundreds of times slower than fp32, and its name does not say so.

    Raises:
        UserError: there is no such precision.
    """
    if wanted not in ("auto", "fp32", "bf16"):
        raise UserError(f"There is no precision '{wanted}'; there are auto, fp32, bf16 and, to predict, int8.")
    if wanted == "auto":
        wanted = "bf16" if _bf16_pays(device.type) else "fp32"
    if wanted == "fp32":
        return wanted, nullcontext
    return wanted, partial(torch.autocast, device.type, dtype=torch.bfloat16)


def round_to_int8(trunk: nn.Module, device: torch.device) -> None:
    """Weights of linear layers in 8 bits, a scale for each row; what they are multiplied with is rounded as it comes.

    Raises:
        UserError: there is no such product on the device, or in this version of torch.
    """
    if device.type != "cpu":
        raise UserError(f"int8 is for processors, not for {device.type}. Try --device cpu or --precision bf16.")
    try:
        from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic
    except ImportError as error:  # torch says that it will leave it out one day
        raise UserError(
            f"torch {torch.__version__} has no int8 for processors; `patchword export --int8` writes a file that has."
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_dynamic(trunk, {nn.Linear: per_channel_dynamic_qconfig}, inplace=True)


@cache
def _bf16_pays(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)

    # One thread alone waits for no other, and the least of several tries is one that no other process disturbed.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        fp32, bf16 = (_least_seconds(dtype) for dtype in (torch.float32, torch.bfloat16))
    finally:
        torch.set_num_threads(threads)
    # Casts, and sums that stay in fp32, eat a part of the gain.
    return bf16 * 1.5 < fp32


def _least_seconds(dtype: torch.dtype) -> float:
    """What a product of matrices takes."""
    a, b = torch.ones(256, 512, dtype=dtype), torch.ones(512, 512, dtype=dtype)
    a @ b
    times = []
    for _ in range(9):
        begin = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - begin)
    return min(times)
