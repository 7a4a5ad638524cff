"""Which default settings a run gets, and that what is said goes before them."""

from __future__ import annotations

import pytest

from patchword.models.family import families, preset
from patchword.tasks.task import tasks
from patchword.training.recipes import CONTINUED, default_recipe


def test_a_family_can_name_a_recipe_for_a_task() -> None:
    """Where there is none of that name for the task, its models learn as all others do."""
    named = preset("patchword-mini")[0].recipe
    modern = default_recipe("pretrain", "masked_lm", 256, 0, named=named)
    usual = default_recipe("pretrain", "masked_lm", 256, 0)
    assert (modern.optimizer, modern.mask_share, modern.schedule) == ("muon", 0.3, "wsd")
    assert (usual.optimizer, usual.mask_share, usual.ema) == ("adamw", 0.15, None)
    for stage, task in (("pretrain", "causal_lm"), ("finetune", "text_classification")):
        assert default_recipe(stage, task, 256, 100, named=named) == default_recipe(stage, task, 256, 100)


def test_every_name_is_that_of_a_recipe() -> None:
    """Else a family would silently learn as all others do."""
    for family in families().values():
        task = family.objective.replace("-", "_")
        own, usual = (default_recipe("pretrain", task, 256, 0, named=named) for named in (family.recipe, ""))
        assert (own == usual) == (family.recipe == ""), family.model_type


@pytest.mark.parametrize("task", [name for name, kind in tasks().items() if kind.reads == "corpus"])
@pytest.mark.parametrize("named", sorted({family.recipe for family in families().values()}))
def test_what_has_learnt_goes_on_slowly_and_at_full_size(task: str, named: str) -> None:
    anew, on = (default_recipe("pretrain", task.replace("-", "_"), 256, 0, more, named) for more in (False, True))
    assert on.lr == pytest.approx(CONTINUED * anew.lr)
    assert on.batch_ramp == on.length_ramp == 0.0
    assert on.optimizer == anew.optimizer
