"""The size of a model for a time: what the law says, what is measured, and what is told."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import patchword as pw
from patchword.errors import UserError
from patchword.models.config_file import read_json
from patchword.training.sizing import LADDERS, Ladder, Size, batch_for, climb, worth

COUNTS = st.floats(1e3, 1e12)
OF_TASKS = pytest.mark.parametrize("ladder", LADDERS.values(), ids=LADDERS)


@given(COUNTS, COUNTS)
def test_what_is_read_again_is_worth_less(tokens: float, unique: float) -> None:
    """Never more than was read, at least one pass, and never more than 16.4 passes (Muennighoff et al. 2023)."""
    found = worth(tokens, unique)
    assert min(tokens, unique) <= found <= tokens
    assert found <= 16.4 * unique * (1 + 1e-12)
    assert worth(2 * tokens, unique) >= found


def test_four_passes_are_worth_nearly_as_many_fresh_ones() -> None:
    """As the paper finds: up to 4 epochs are almost as good as new data."""
    assert worth(4e6, 1e6) == pytest.approx(3.73e6, rel=0.01)


@OF_TASKS
@given(COUNTS, COUNTS)
def test_more_numbers_and_more_tokens_never_hurt(ladder: Ladder, numbers: float, tokens: float) -> None:
    law = ladder.law
    assert law.loss(2 * numbers, tokens) < law.loss(numbers, tokens)
    assert law.loss(numbers, 2 * tokens) < law.loss(numbers, tokens)


@given(COUNTS)
def test_a_batch_is_a_power_of_2_that_grows_with_the_run(tokens: float) -> None:
    assert math.log2(batch_for(tokens)).is_integer()
    assert batch_for(tokens) <= batch_for(2 * tokens) <= 2 * batch_for(tokens)


@OF_TASKS
@pytest.mark.parametrize("speed", [1.0, 100.0])
def test_with_more_time_the_size_grows(speed: float, ladder: Ladder) -> None:
    """On a slow machine and on a fast one; and what is clearly worse is not waited for."""
    names = ladder.presets
    numbers = dict(zip(names, (3e5, 3e6, 1.2e7, 9e7), strict=True))

    def best(minutes: float) -> int:
        asked: list[str] = []

        def measured(name: str, batch_tokens: int) -> Size:
            """As on a machine on which a token takes four times as long in each size."""
            asked.append(name)
            tokens = 54 * minutes * speed / (1e-5 * 4 ** names.index(name))
            return Size(name, int(numbers[name]), batch_tokens, 1.0, tokens, ladder.law.loss(numbers[name], tokens))

        found = list(climb(measured, ladder))
        assert {size.preset for size in found} == set(asked)
        assert found[-1].loss <= 1.5 * min(size.loss for size in found)
        return names.index(min(found, key=lambda size: size.loss).preset)

    chosen = [best(minutes) for minutes in (0.1, 1, 10, 100, 1000, 10_000)]
    assert chosen == sorted(chosen)
    assert chosen[0] < chosen[-1]


@pytest.mark.parametrize("task", [None, "causal_lm"])
def test_auto_ends_as_a_run_of_what_it_chose(task: str | None, corpus_file: Path, tmp_path: Path, capsys: Any) -> None:
    how: dict[str, Any] = {"minutes": 0.05, "max_length": 64, "lines": True}
    result = pw.pretrain(corpus_file, model="auto", task=task, out=tmp_path / "run", **how)
    told = capsys.readouterr().err
    run = read_json(result.folder / "run.json")
    assert run["start"] in LADDERS["causal-lm" if task else "masked-lm"].presets
    assert f"Chosen: {run['start']}, in batches of {run['recipe']['batch_tokens']:,} tokens" in " ".join(told.split())
    assert result.report["steps"] > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"steps": 10}, "--minutes, not --steps"), ({"task": "denoising"}, "masked-lm and causal-lm, not for denoising")],
)
def test_what_it_can_not_choose_for(settings: dict[str, Any], message: str, corpus_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        pw.pretrain(corpus_file, model="auto", out=tmp_path / "run", lines=True, **settings)


def test_pictures_need_a_name(tmp_path: Path) -> None:
    from PIL import Image

    for i in range(3):
        Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / f"{i}.png")
    with pytest.raises(UserError, match="presets"):
        pw.pretrain(tmp_path, model="auto", out=tmp_path / "run")
