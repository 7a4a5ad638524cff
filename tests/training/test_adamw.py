"""AdamW: torch's own numbers, bit by bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from patchword.training.adamw import AdamW

HOW = {"lr": 0.03, "betas": (0.9, 0.98), "eps": 1e-6}


def groups(parameters: list[nn.Parameter]) -> list[dict[str, object]]:
    return [{"params": parameters[:2], "weight_decay": 0.1}, {"params": parameters[2:], "weight_decay": 0.0}]


def weights() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape)) for shape in [(5, 3), (4, 4, 2), (7,), ()]]


def test_steps_are_those_of_torch() -> None:
    """With rates that change, and a parameter that has a gradient in every other step only."""
    ours, theirs = weights(), weights()
    optimizers = AdamW(groups(ours), **HOW, fused=True), torch.optim.AdamW(groups(theirs), **HOW, fused=True)
    for step in range(6):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        if step % 2:
            ours[1].grad = theirs[1].grad = None
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = 0.03 / (1 + step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)
        for name, value in optimizers[1].state[other].items():
            assert torch.equal(optimizers[0].state[one][name], value)


def test_a_step_that_was_found_broken_changes_nothing() -> None:
    parameters = weights()
    optimizer = AdamW(groups(parameters), **HOW, fused=True)

    def step(found_inf: float, gradient: float) -> list[Tensor]:
        for parameter in parameters:
            parameter.grad = torch.full_like(parameter, gradient)
        optimizer.found_inf = torch.tensor(found_inf)
        optimizer.step()
        moments = [value for state in optimizer.state.values() for value in state.values()]
        return [tensor.detach().clone() for tensor in [*parameters, *moments]]

    before = step(0.0, 1.0)
    broken = step(1.0, float("nan"))
    assert all(torch.equal(a, b) for a, b in zip(before, broken, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(broken, step(0.0, 1.0), strict=True))


def test_training_loads_no_compiler(tmp_path: Path) -> None:
    """It takes as long to import as the rest of torch."""
    (tmp_path / "text.txt").write_text(" ".join(f"{i} and {i * 7919 % 1009} are two." for i in range(4000)))
    how = "model='bert-mini', vocab_size=300, max_length=32, steps=2, device='cpu', quiet=True"
    code = (
        "import sys, patchword\n"
        f"patchword.pretrain({str(tmp_path / 'text.txt')!r}, out={str(tmp_path / 'run')!r}, {how})\n"
        "assert 'torch' in sys.modules and 'torch._dynamo' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
