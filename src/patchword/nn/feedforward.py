"""The part of a layer that looks at one token at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_python": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_fast": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "gelu_python_tanh": partial(F.gelu, approximate="tanh"),
    "gelu_accurate": partial(F.gelu, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
    "tanh": F.tanh,
}
"""Functions by the names that configs of published models use."""


class FeedForward(nn.Module):
    """W_2 f(W_1 x + b_1) + b_2 (Vaswani et al. 2017, equation 2).

    Args:
        width: numbers per token in and out.
        hidden: numbers in between.
        activation: a name in `ACTIVATIONS`.
        bias: whether the products add one.
        dropout: on the numbers in between, while training.
    """

    def __init__(
        self, width: int, hidden: int, *, activation: str = "gelu", bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=bias)
        self.activation = ACTIVATIONS[activation]
        self.dropout = nn.Dropout(dropout)
        self.down = nn.Linear(hidden, width, bias=bias)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """`[T, width]` -> `[T, width]`."""
        output: Tensor = self.down(self.dropout(self.activation(self.up(hidden_states))))
        return output


class GatedFeedForward(FeedForward):
    """W_2 (f(V x) * W_1 x) (Shazeer 2020, equation 6): GEGLU with f = GELU, SwiGLU with f = SiLU.

    The rows of V and of W_1 are one matrix, V first.

    Args:
        width, hidden, activation, bias, dropout: as in `FeedForward`.
    """

    def __init__(
        self, width: int, hidden: int, *, activation: str = "silu", bias: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__(width, hidden, activation=activation, bias=bias, dropout=dropout)
        self.up = nn.Linear(width, 2 * hidden, bias=bias)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """`[T, width]` -> `[T, width]`."""
        gate, up = self.up(hidden_states).chunk(2, dim=-1)
        output: Tensor = self.down(self.dropout(self.activation(gate) * up))
        return output
