"""The learning rate against its closed forms, and against the schedules of transformers."""

from __future__ import annotations

import math

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from patchword.training.recipe import Recipe
from patchword.training.schedule import pace, progress, rate

LR = 2e-3
SHAPES = ["linear", "cosine", "wsd"]


def recipe(shape: str, warmup: float = 0.1) -> Recipe:
    return Recipe(steps=100, lr=LR, schedule=shape, warmup=warmup)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("warmup", [0.0, 0.06, 0.1, 0.5, 0.9])
def test_the_rate_peaks_at_the_end_of_the_warm_up_and_ends_at_0(shape: str, warmup: float) -> None:
    settings = recipe(shape, warmup)
    assert rate(settings, warmup) == pytest.approx(LR)
    assert rate(settings, 1.0) == pytest.approx(0.0, abs=1e-12)
    assert rate(settings, 0.0) > 0.0  # the first step counts


@given(shape=st.sampled_from(SHAPES), warmup=st.floats(0.0, 0.7), at=st.floats(0.0, 1.0), step=st.floats(0.0, 0.01))
def test_the_rate_never_jumps_nor_leaves_its_bounds(shape: str, warmup: float, at: float, step: float) -> None:
    settings = recipe(shape, warmup)
    before, after = rate(settings, at), rate(settings, min(at + step, 1.0))
    assert 0.0 <= before <= LR * (1 + 1e-12)
    if at < warmup:
        assert after >= before or at + step > warmup
    else:
        assert after <= before + 1e-15
        assert before - after <= LR * max(5, math.pi / 2 / (1 - warmup)) * step + 1e-12


@pytest.mark.parametrize(
    ("shape", "at", "share"),
    [
        ("linear", 0.05, 0.5),
        ("linear", 0.55, 0.5),
        ("linear", 0.775, 0.25),
        ("cosine", 0.55, 0.5),
        ("cosine", 0.4, 0.75),
        ("cosine", 0.7, 0.25),
        ("wsd", 0.11, 1.0),
        ("wsd", 0.8, 1.0),
        ("wsd", 0.9, 0.5),
        ("wsd", 0.95, 0.25),
    ],
)
def test_the_rate_has_the_value_of_its_formula(shape: str, at: float, share: float) -> None:
    assert rate(recipe(shape), at) == pytest.approx(share * LR)


@pytest.mark.parametrize(
    ("shape", "theirs"),
    [
        ("linear", transformers.get_linear_schedule_with_warmup),
        ("cosine", transformers.get_cosine_schedule_with_warmup),
    ],
)
def test_the_rate_is_that_of_transformers(shape: str, theirs) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LR)
    schedule = theirs(optimizer, num_warmup_steps=10, num_training_steps=100)
    for step in range(100):
        if step:  # theirs is 0 at first, which wastes a step
            assert rate(recipe(shape), step / 100) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


def test_a_run_is_measured_by_what_its_recipe_counts() -> None:
    where = {"step": 30, "epoch": 1.5, "seconds": 45.0}
    assert progress(Recipe(lr=LR, steps=120), **where) == 0.25
    assert progress(Recipe(lr=LR, epochs=6), **where) == 0.25
    assert progress(Recipe(lr=LR, minutes=3), **where) == 0.25
    assert progress(Recipe(lr=LR, steps=20), **where) == 1.0


@pytest.mark.parametrize("lengths", [{}, {"steps": 1, "epochs": 1}, {"epochs": 1, "minutes": 1}])
def test_a_recipe_says_exactly_once_how_long(lengths: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="exactly one of steps, epochs and minutes"):
        Recipe(lr=LR, **lengths)


def test_batches_and_texts_grow_in_a_line() -> None:
    settings = recipe("wsd").model_copy(
        update={"batch_ramp": 0.5, "batch_start": 0.2, "length_ramp": 0.1, "length_start": 0.5}
    )
    for at, batch, length in ((0.0, 0.2, 0.5), (0.05, 0.28, 0.75), (0.1, 0.36, 1.0), (0.25, 0.6, 1.0), (0.5, 1.0, 1.0)):
        assert pace(settings, at) == pytest.approx((batch, length))
    assert pace(recipe("wsd"), 0.0) == (1.0, 1.0)
