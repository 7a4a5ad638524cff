"""Two losses share an axis only where they are the same quantity."""

from __future__ import annotations

import pytest
import torch

from patchword.tasks.labels import MULTI, SINGLE, LabelSet
from patchword.tasks.text_classification import TextClassification
from patchword.training.curves import plot_curves

STEPS = [{"step": n, "loss": 1.0 / n, "lr": 0.1} for n in range(1, 9)]
LOOKS = [{"step": 4, "loss": 0.9}, {"step": 8, "loss": 0.8}]


@pytest.mark.parametrize("terms", [(), ("0.5 x supervised contrastive loss",)])
def test_a_training_loss_with_other_terms_has_axes_of_its_own(terms: tuple[str, ...]) -> None:
    figure = plot_curves(STEPS, LOOKS, terms)
    of_loss = [axes for axes in figure.axes if "loss" in axes.get_ylabel()]
    drawn = {line.get_label(): axes for axes in of_loss for line in axes.get_lines()}
    assert (drawn["each step"] is drawn["validation"]) is not bool(terms)
    assert len(of_loss) == 1 + bool(terms)
    if terms:
        assert terms[0] in drawn["each step"].get_title()
        assert drawn["validation"].get_ylabel() == "validation loss (nats)"
    assert drawn["validation"].get_lines()[-1].get_ydata() == pytest.approx([0.9, 0.8])


def test_a_task_names_the_terms_that_only_its_training_loss_has() -> None:
    assert TextClassification(LabelSet(("a", "b"), MULTI)).only_in_training == ()
    task = TextClassification(LabelSet(("a", "b"), SINGLE), weights=torch.ones(2), smoothing=0.1, contrast=0.5)
    assert task.only_in_training == ("0.5 x supervised contrastive loss", "label smoothing 0.1", "class weights")
