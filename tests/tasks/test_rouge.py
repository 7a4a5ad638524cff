"""ROUGE against Google's `rouge_score`, and in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchword.tasks.rouge import NAMES, rouge, rouges, summed_up

rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
SCORER = rouge_scorer.RougeScorer(list(NAMES), use_stemmer=True)
WORDS = st.sampled_from(
    [
        "the",
        "running",
        "runs",
        "Runner",
        "cats",
        "cat,",
        "it's",
        "generously",
        "42",
        "x-ray",
        "naïve",
        "flies",
        "dying",
        "...",
    ]
)
TEXTS = st.one_of(st.text(max_size=40), st.lists(WORDS, max_size=90).map(" ".join))


@given(TEXTS, TEXTS)
def test_equals_rouge_score(expected: str, written: str) -> None:
    theirs = SCORER.score(expected, written)
    assert rouge(expected, written) == pytest.approx([theirs[name].fmeasure for name in NAMES], abs=1e-9)


def test_of_a_text_with_itself_is_one_and_with_nothing_zero() -> None:
    assert rouge("a small cat", "A small cat!") == (1.0, 1.0, 1.0)
    assert rouge("a small cat", "") == (0.0, 0.0, 0.0)


def test_interval_holds_the_mean_and_narrows_with_rows() -> None:
    scores = np.random.default_rng(0).random((1000, 3))
    few, many = summed_up(scores[:50]), summed_up(scores)
    for name in NAMES:
        assert many[f"{name}_low"] < many[name] < many[f"{name}_high"]
        # The normal approximation: 1.96 standard errors to each side.
        half = 1.96 * scores[:, NAMES.index(name)].std() / np.sqrt(len(scores))
        assert (many[f"{name}_high"] - many[f"{name}_low"]) / 2 == pytest.approx(half, rel=0.15)
        assert few[f"{name}_high"] - few[f"{name}_low"] > many[f"{name}_high"] - many[f"{name}_low"]


def test_rows_keep_their_order() -> None:
    assert rouges(["a b", "c d"], ["x", "c d"])[:, 0].tolist() == [0.0, 1.0]
