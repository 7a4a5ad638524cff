"""What a step came to, read without making the device wait for it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from patchword.errors import NotFinite


class Diverged(NotFinite):
    """The loss is no number any more."""


def reads_late(device: torch.device, optimizer: torch.optim.Optimizer) -> bool:
    """Whether what a step came to is read when the next one is on its way.

    A device computes while the host prepares what comes next; to ask for a number makes the host wait. An optimizer can
    be told on the device to change nothing (`found_inf`) only where it is torch's AdamW in one kernel.
    """
    return device.type != "cpu" and isinstance(optimizer, torch.optim.AdamW)


class Outcome:
    """Loss and gradient norm of a step, on their way to the host.

    Args:
        step: its number.
        loss: mean a label.
        norm: of the gradient of all weights together, before it was clipped.
        lr: of the step.
        highest: the largest learning rate of the run.
    """

    def __init__(self, step: int, loss: Tensor, norm: Tensor, lr: float, highest: float) -> None:
        self.step, self.lr, self.highest = step, lr, highest
        self._on_device = self._numbers = torch.stack([loss, norm.to(loss.dtype)])
        self._broken: Tensor | None = None
        self._arrived: torch.cuda.Event | None = None
        if loss.is_cuda:
            # Asked for later, a number would come after all that is queued by then; it is sent now.
            host = torch.empty(2, dtype=loss.dtype, pin_memory=True)
            self._numbers = host.copy_(self._on_device, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def broken(self, before: Outcome | None) -> Tensor:
        """1 where a number is none, in this step or in the one before, else 0; on the device."""
        if self._broken is None:
            self._broken = (~self._on_device.isfinite().all()).float()
            if before is not None:
                self._broken = torch.maximum(self._broken, before.broken(None))
        return self._broken

    def loss(self) -> float:
        """The loss; waits for the step to be done.

        Raises:
            Diverged: the loss is no number any more.
        """
        if self._arrived is not None:
            self._arrived.synchronize()
        loss, norm = self._numbers.tolist()
        if not math.isfinite(norm) or not math.isfinite(loss):
            raise Diverged(
                f"The loss is no number any more at step {self.step} (loss {loss}, gradient norm {norm}), so the "
                f"weights were left as they were. Try a lower learning rate than {self.highest:g} (--lr) or "
                "--precision fp32; the last checkpoint is from before."
            )
        return loss
