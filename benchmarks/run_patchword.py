"""One training run of patchword, in a process of its own: `patchword pretrain` or `finetune` with a stop watch.

It is `patchword.training.stages` itself, from reading the data to the one loop with its bar, metrics and
TensorBoard; only the tracker also looks at the clock here, and stops after so many steps.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any
from unittest.mock import patch

from benchmarks.race import hand_back
from benchmarks.stop_watch import StopWatch


class _Enough(Exception):
    """As many steps as were wanted."""


def run(stage: str, settings: Mapping[str, Any], warm_up: int, least: int, seconds: float) -> dict[str, Any]:
    """Learn; after `warm_up` steps time `least` steps, or as many as begin within `seconds`.

    Args:
        stage: "pretrain" or "finetune".
        settings: what that function takes.
        warm_up, least, seconds: of the stop watch.

    Returns:
        tokens_per_second, steps (timed ones), memory (bytes at most), first_step (seconds since the process began),
        precision.
    """
    import torch

    from patchword.tasks.precision import choose_precision
    from patchword.training import stages
    from patchword.training.tracking import Tracker

    watch = StopWatch(warm_up, least, seconds)
    track = Tracker.step
    tokens = 0

    def step(tracker: Tracker, progress: float, values: Mapping[str, float]) -> None:
        nonlocal tokens
        enough = watch.step(int(values["tokens"]) - tokens)
        tokens = int(values["tokens"])
        if enough:
            raise _Enough
        track(tracker, progress, values)

    try:
        with patch.object(Tracker, "step", step):
            getattr(stages, stage)(**settings, steps=100_000, checkpoint_seconds=1e6, evaluations=1, quiet=True)
    except _Enough:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # Found out once a process, so this is what the run had.
        return watch.figures("tokens") | {"precision": choose_precision(settings["precision"], device)[0]}
    raise RuntimeError("training ended before the steps were done")


if __name__ == "__main__":
    hand_back(run(**json.loads(sys.argv[1])))
