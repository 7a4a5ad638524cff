"""Which task a family learns, and which one a model has learnt."""

from __future__ import annotations

import pytest
import torch

from patchword.models.family import Family, Model, families
from patchword.tasks.task import task_named, task_of


@pytest.mark.parametrize("family", families().values(), ids=lambda family: family.model_type)
def test_a_family_can_learn_what_it_is_pretrained_with(family: Family) -> None:
    """And what it has learnt is known again, where several tasks ask for the same head."""
    task = task_named(family.objective, family)
    config = next(iter(family.presets.values()))
    with torch.device("meta"):
        model = Model(family, config, task.way_out, ("a", "b") if task.way_out == "class" else ())
    assert task_of(model) is task
