"""Products in bf16 on a CPU have sizes that come again: its library makes code for every new one.

Which takes longer than a small product itself: a layer of 1,024 tokens, 256 x 768, ten times as long (oneDNN, AMX).
"""

from __future__ import annotations

import torch
from torch import Tensor


def usual(count: int) -> int:
    """The next of about 16 sizes in each octave, 6 % larger at most."""
    step = 1 << max(count.bit_length() - 5, 0)
    return -(-count // step) * step


def missing(values: Tensor) -> int:
    """Rows that values `[n, ...]` lack to be of a usual size, where that pays: in bf16 on a CPU."""
    if values.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return 0
    return usual(len(values)) - len(values)
