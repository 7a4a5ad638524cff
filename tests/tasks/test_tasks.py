"""Which task a family can learn, and which one a model has learnt."""

from __future__ import annotations

import pytest
import torch

from patchword.models.family import Family, Model, families, preset
from patchword.tasks.task import task_named, task_of


@pytest.mark.parametrize("family", families().values(), ids=lambda family: family.model_type)
def test_a_family_can_learn_what_it_is_pretrained_with(family: Family) -> None:
    """And what it has learnt is known again, where several tasks ask for the same head."""
    task = task_named(family.objective, family)
    config = next(iter(family.presets.values()))
    with torch.device("meta"):
        model = Model(family, config, task.way_out, ("a", "b") if task.way_out == "class" else ())
    assert task_of(model) is task


def test_of_several_tasks_with_one_head_the_folder_says_which() -> None:
    kind, config = preset("t5-tiny")
    sizes = {"vocab_size": 200, "width": 16, "heads": 2, "head_size": 8, "hidden": 16}
    model = Model(kind, config.model_copy(update=sizes), "next_token")
    assert task_of(model).name == "span_corruption"
    assert task_of(model, "denoising").name == "denoising"
    assert task_of(model, "text_classification").name == "span_corruption"
