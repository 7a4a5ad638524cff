"""Whether it paid that a start's pretraining went on from another folder, before labels came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from patchword.errors import UserError
from patchword.models.card import read_card
from patchword.models.folder import CONFIG
from patchword.tasks.task import Compute
from patchword.training.prepare import ask_for, config_for, model_for, prepare, reader_for, with_sizes
from patchword.training.run import RunConfig, RunFolder
from patchword.training.tracking import said
from patchword.training.verdict import BEFORE, PROBE


def before(run: RunConfig) -> RunConfig | None:
    """The same run from the folder that its start's pretraining went on from; None where there was, or is, none."""
    if run.begins_anew or not (told := read_card(Path(run.start))):
        return None
    earlier = run.model_copy(update={"start": str(told.get("start"))})
    if told.get("stage") != "pretrain" or earlier.begins_anew or not (Path(earlier.start) / CONFIG).is_file():
        return None
    return earlier


def probe_before(run: RunConfig, folder: RunFolder, compute: Compute) -> dict[str, Any]:
    """What a linear probe reaches on the vectors from before that: it joins the floors of a report.

    Args:
        run: that learnt from labels.
        folder: its own.
        compute: where the vectors are.
    """
    earlier = before(run)
    if earlier is None:
        return {}
    try:
        found = _probes(earlier, folder, compute)
    except UserError:  # that folder is whole no more, and this run is
        return {}
    return {part: {BEFORE: found[part][PROBE]} for part in ("floors", "test_floors") if PROBE in found.get(part, {})}


def _probes(run: RunConfig, folder: RunFolder, compute: Compute) -> dict[str, Any]:
    """It has a tokenizer of its own, so rows are read again; which are held back depends on what they say alone."""
    reader = reader_for(run, folder, False, True)
    family, config = config_for(run, reader)
    prepared = prepare(run, with_sizes(ask_for(run), config), reader, family, True)
    model, _ = model_for(run, family, config, prepared.task, reader, compute.device, said(True))
    return prepared.task.probes(model, prepared, compute)
