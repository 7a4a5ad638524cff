"""A feed-forward part of several, of which each token goes through a few.

Shapes: T tokens, E experts, k of them for each token.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from patchword.nn.feedforward import ACTIVATIONS


class MixtureOfExperts(nn.Module):
    """sum over the k best experts of softmax_i(W_g x) E_i(x), each a gated feed-forward (Jiang et al. 2024, section 2).

    Tokens are sorted by their expert, so that each expert is one dense product over its own tokens: none is padded
    and none is dropped.

    Args:
        width: numbers per token in and out.
        hidden: numbers in between.
        experts: E.
        active: k.
        activation: a name in `ACTIVATIONS`.
    """

    def __init__(self, width: int, hidden: int, *, experts: int, active: int, activation: str = "silu") -> None:
        super().__init__()
        if not 0 < active <= experts:
            raise ValueError(f"{active} active experts of {experts}")
        self.experts, self.active = experts, active
        self.router = nn.Linear(width, experts, bias=False)
        self.up = nn.Parameter(torch.empty(experts, 2 * hidden, width))
        self.down = nn.Parameter(torch.empty(experts, width, hidden))
        self.activation = ACTIVATIONS[activation]
        self.router_logits: Tensor | None = None
        """`[T, E]` of the last forward pass: what a balancing loss reads."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """`[T, width]` -> `[T, width]`."""
        logits = self.router(hidden_states)
        self.router_logits = logits if torch.is_grad_enabled() else None
        weights, chosen = logits.float().softmax(-1).topk(self.active, dim=-1)
        weights = weights / weights.sum(-1, keepdim=True)
        order = chosen.flatten().argsort(stable=True)
        token = order // self.active
        counts = torch.bincount(chosen.flatten(), minlength=self.experts).tolist()
        outputs = []
        for expert, mine in enumerate(torch.split(hidden_states[token], counts)):
            gate, up = F.linear(mine, self.up[expert]).chunk(2, dim=-1)
            outputs.append(F.linear(self.activation(gate) * up, self.down[expert]))
        weighted = torch.cat(outputs) * weights.flatten()[order, None]
        output: Tensor = weighted.new_zeros(hidden_states.shape).index_add(0, token, weighted)
        return output.to(hidden_states.dtype)


def balance_loss(model: nn.Module) -> Tensor | None:
    """E x the sum over experts of (share of tokens that go there) x (mean probability): k where all are used alike.

    Over the last forward pass, all layers together (Fedus et al. 2021, equation 4, as Mixtral has it); None where the
    model has no experts.
    """
    layers = [part for part in model.modules() if isinstance(part, MixtureOfExperts)]
    logits = [layer.router_logits for layer in layers if layer.router_logits is not None]
    if not logits:
        return None
    chances = torch.cat(logits).float().softmax(-1)
    chosen = F.one_hot(chances.topk(layers[0].active, dim=-1).indices, layers[0].experts)
    share = chosen.float().mean(0).sum(0)
    return layers[0].experts * (share * chances.mean(0)).sum()
