"""How fast a large matrix product is here, in both types, in a process of its own."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial

import torch

from benchmarks.profile import matmul_speed
from benchmarks.race import hand_back

if __name__ == "__main__":
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bf16 = partial(torch.autocast, device.type, dtype=torch.bfloat16)
    hand_back({"fp32": matmul_speed(device, nullcontext, 2.0), "bf16": matmul_speed(device, bf16, 2.0)})
