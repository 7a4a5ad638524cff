"""Which task a model can learn, and which it has learnt."""

from __future__ import annotations

import pytest

from patchword.models.family import Model, families, preset
from patchword.tasks.task import task_named, task_of

TEXT = [family for family in families().values() if family.modality == "text"]


@pytest.mark.parametrize("family", TEXT, ids=lambda family: family.model_type)
def test_every_family_can_learn_what_it_is_pretrained_with(family) -> None:
    assert task_named(family.objective, family).name == family.objective.replace("-", "_")


def test_of_several_tasks_with_one_head_the_folder_says_which() -> None:
    kind, config = preset("t5-tiny")
    sizes = {"vocab_size": 200, "width": 16, "heads": 2, "head_size": 8, "hidden": 16}
    model = Model(kind, config.model_copy(update=sizes), "next_token")
    assert task_of(model).name == "span_corruption"
    assert task_of(model, "denoising").name == "denoising"
    assert task_of(model, "text_classification").name == "span_corruption"
