"""ROUGE: how much of a reference a written summary holds (Lin 2004), counted as Google's `rouge_score` counts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from patchword.errors import UserError

NAMES = ("rouge1", "rouge2", "rougeL")
_RESAMPLES = 1000


@cache
def _stemmer() -> Any:
    try:
        from nltk.stem.porter import PorterStemmer
    except ImportError as error:
        raise UserError("ROUGE counts the stems of words, which needs nltk: pip install nltk.") from error
    return PorterStemmer()


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    return str(_stemmer().stem(word)) if len(word) > 3 else word


def stems(text: str) -> list[str]:
    """Words of a-z and 0-9 in lower case, those longer than 3 letters as their Porter stems."""
    return [_stem(word) for word in re.findall(r"[a-z0-9]+", text.lower())]


def rouge(expected: str, written: str) -> tuple[float, float, float]:
    """F1 of common words, of common pairs of words, and of the longest common subsequence, each 0 to 1."""
    gold, said = stems(expected), stems(written)
    one, two = (_overlap(gold, said, n) for n in (1, 2))
    return one, two, _f1(_longest_common(gold, said), len(gold), len(said))


def rouges(expected: Sequence[str], written: Sequence[str]) -> np.ndarray:
    """`[rows, 3]`: ROUGE-1, ROUGE-2 and ROUGE-L of each row."""
    return np.array([rouge(*pair) for pair in zip(expected, written, strict=True)]).reshape(-1, 3)


def summed_up(scores: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Means over rows, and 95 % intervals (`rouge1_low`, `rouge1_high`) from 1,000 bootstrap samples of the rows.

    Args:
        scores: `[rows, 3]`, one row at least.
        seed: of the samples.
    """
    random = np.random.default_rng(seed)
    drawn = np.stack([scores[random.integers(0, len(scores), len(scores))].mean(0) for _ in range(_RESAMPLES)])
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    result = dict(zip(NAMES, scores.mean(0).tolist(), strict=True))
    for n, name in enumerate(NAMES):
        result |= {f"{name}_low": float(low[n]), f"{name}_high": float(high[n])}
    return result


def _overlap(gold: list[str], said: list[str], n: int) -> float:
    counts = [Counter(zip(*(words[k:] for k in range(n)), strict=False)) for words in (gold, said)]
    return _f1((counts[0] & counts[1]).total(), counts[0].total(), counts[1].total())


def _f1(common: int, gold: int, said: int) -> float:
    return 2 * common / (gold + said) if common else 0.0


def _longest_common(gold: list[str], said: list[str]) -> int:
    """Length of the longest common subsequence, all places of a row at once as the bits of a number (Hyyro 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(gold):
        places[word] = places.get(word, 0) | 1 << place
    everywhere = (1 << len(gold)) - 1
    row = everywhere
    for word in said:
        matched = row & places.get(word, 0)
        row = (row + matched | row - matched) & everywhere
    return len(gold) - row.bit_count()
