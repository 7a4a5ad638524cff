"""Which default settings a run gets, and that what is said goes before them."""

from __future__ import annotations

import pytest

from patchword.models.family import Model, families, preset
from patchword.tasks.task import tasks
from patchword.training.matrices import matrices
from patchword.training.optimizer import make_optimizer
from patchword.training.recipes import CONTINUED, default_recipe


def test_a_family_can_name_a_recipe_for_a_task() -> None:
    """Where there is none of that name for the task, its models learn as all others do."""
    named = preset("patchword-mini")[0].recipe
    modern = default_recipe("pretrain", "masked_lm", 256, 0, named=named)
    usual = default_recipe("pretrain", "masked_lm", 256, 0)
    assert (modern.mask_share, modern.schedule, modern.ema) == (0.3, "wsd", 0.05)
    assert (usual.mask_share, usual.schedule, usual.ema) == (0.15, "cosine", None)
    for stage, task in (("pretrain", "span_corruption"), ("finetune", "text_classification")):
        assert default_recipe(stage, task, 256, 100, named=named) == default_recipe(stage, task, 256, 100)


def test_next_words_and_pictures_have_theirs() -> None:
    decoder, image = preset("patchword-decoder-mini")[0], preset("patchword-image-mini")[0]
    words = default_recipe("pretrain", "causal_lm", 256, 0, named=decoder.recipe)
    masked = default_recipe("pretrain", "masked_lm", 256, 0, named="modern")
    assert words == masked.model_copy(update={"mask_share": words.mask_share})
    assert words.mask_share == default_recipe("pretrain", "causal_lm", 256, 0).mask_share
    pictures = default_recipe("pretrain", "image_classification", 192, 0, named=image.recipe)
    usual = default_recipe("pretrain", "image_classification", 192, 0)
    assert (pictures.dropout, pictures.schedule, pictures.lr) == (0.0, "wsd", usual.lr)


def test_every_name_is_that_of_a_recipe() -> None:
    """Else a family would silently learn as all others do."""
    for family in families().values():
        task = family.objective.replace("-", "_")
        own, usual = (default_recipe("pretrain", task, 256, 0, named=named) for named in (family.recipe, ""))
        assert (own == usual) == (family.recipe == ""), family.model_type


@pytest.mark.parametrize("task", [name for name, kind in tasks().items() if kind.reads == "corpus"])
@pytest.mark.parametrize("named", sorted({family.recipe for family in families().values()}))
def test_what_has_learnt_goes_on_slowly(task: str, named: str) -> None:
    anew, on = (default_recipe("pretrain", task.replace("-", "_"), 256, 0, more, named) for more in (False, True))
    assert on.lr == pytest.approx(CONTINUED * anew.lr)
    assert on.optimizer == anew.optimizer


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_matrices_have_a_rate_of_their_own(optimizer: str) -> None:
    family, config = preset("patchword-tiny")
    recipe = default_recipe("pretrain", "masked_lm", config.width, 0, named=family.recipe)
    recipe = recipe.model_copy(update={"optimizer": optimizer, "matrix_lr": 3.0})
    model = Model(family, config.model_copy(update={"vocab_size": 50}), "masked_token")
    of = {p: g["factor"] for g in make_optimizer(model, recipe).param_groups for p in g["params"]}
    moved = matrices(model)
    assert of == {p: 3.0 if p in moved else 1.0 for p in model.parameters()}
