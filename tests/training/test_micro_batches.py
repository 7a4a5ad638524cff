"""A batch in parts is the whole batch, or it is refused or reported."""

from __future__ import annotations

import copy

import pytest
import torch

from patchword.data.loader import Batch
from patchword.errors import UserError
from patchword.models.family import Model, preset
from patchword.tasks.image_classification import ImageClassification
from patchword.tasks.labels import SINGLE, LabelSet
from patchword.training.micro_batches import check_micro_batches
from patchword.training.recipe import Recipe

LABELS = LabelSet(("a", "b"), SINGLE)


def model_of(name: str, **sizes: object) -> Model:
    family, config = preset(name)
    torch.manual_seed(0)
    return Model(family, config.model_copy(update=sizes), "class", LABELS.names, SINGLE)


def gradients(model: Model, parts: int) -> torch.Tensor:
    model = copy.deepcopy(model).train()
    torch.manual_seed(1)
    tokens = model.config.tokens  # type: ignore[attr-defined]
    pixels, targets = torch.randn(4, 3, *model.config.image_size), torch.tensor([0, 1, 1, 0])  # type: ignore[attr-defined]
    task = ImageClassification(LABELS)
    for part in Batch((pixels,), targets, (tokens,) * 4).split(4 * tokens // parts):
        task.loss(model, part).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def recipe(micro_tokens: int | None, batch_size: int | None = 4) -> Recipe:
    return Recipe(lr=1e-3, steps=1, micro_tokens=micro_tokens, batch_size=batch_size)


@pytest.mark.parametrize(("name", "exact"), [("vit-tiny-16", True), ("bit-50", True), ("resnet-18", False)])
def test_refused_where_it_is_not_the_same(name: str, exact: bool) -> None:
    """BiT has group norm, ResNet batch norm: what is refused differs, what is not refused does not."""
    small = {"depths": (1, 1), "widths": (128, 256), "width": 256} if name == "bit-50" else {}
    model = model_of(name, image_size=(32, 32), **small)
    length = model.config.tokens  # type: ignore[attr-defined]
    whole, parts = gradients(model, 1), gradients(model, 2)
    apart = float((whole - parts).norm() / whole.norm())
    assert (apart < 1e-4) == exact, apart
    assert check_micro_batches(model, recipe(None), length, 0.0) == ""
    assert check_micro_batches(model, recipe(4 * length), length, 0.0) == "", "the batch is not cut"
    if exact:
        assert check_micro_batches(model, recipe(length), length, 0.0) == ""
    else:
        with pytest.raises(UserError, match="batch norm"):
            check_micro_batches(model, recipe(length), length, 0.0)
        frozen = recipe(length).model_copy(update={"tune": "head"})
        assert check_micro_batches(model, frozen, length, 0.0) == "", "it keeps its statistics"


def test_losses_of_a_batch_as_a_whole_are_reported() -> None:
    bert = model_of("bert-mini", depth=1, vocab_size=50)
    assert "contrastive" in check_micro_batches(bert, recipe(64, None), 32, 0.5)
    family, config = preset("mixtral-tiny")
    experts = Model(family, config.model_copy(update={"vocab_size": 50}), "next_token")
    assert "experts" in check_micro_batches(experts, recipe(64, None), 32, 0.0)
