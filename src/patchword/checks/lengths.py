"""How long texts are: in words, and in a model's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from patchword.checks.findings import Finding, Harm, shown
from patchword.data.tokenizers import Tokenizer

_MUCH_CUT = 0.05  # of all tokens


def word_numbers(texts: Sequence[str]) -> dict[str, int]:
    """The least, the median, the 95 % and the most words of a text."""
    return _spread(np.array([len(text.split()) for text in texts]))


def token_findings(
    inputs: Sequence[Any], origins: Sequence[str], name: str, reader: Tokenizer, length: int
) -> tuple[dict[str, Any], list[Finding]]:
    """Tokens of the texts with a model's tokenizer, and what would be cut off.

    Args:
        inputs: texts, or pairs of them.
        origins: their places.
        name: of the split.
        reader: the model's.
        length: tokens that it reads at most, special ones included.
    """
    pairs = [item if isinstance(item, tuple) else (item,) for item in inputs]
    frame = len(reader.pair if len(pairs[0]) > 1 else reader.single)
    counts = np.full(len(pairs), frame)
    for side in range(len(pairs[0])):
        for start in range(0, len(pairs), 1000):
            ids = reader.encode([pair[side] for pair in pairs[start : start + 1000]])
            counts[start : start + len(ids)] += [len(some) for some in ids]
    rows = np.flatnonzero(counts > length)
    cut = float(np.maximum(counts - length, 0).sum() / counts.sum())
    numbers = {"tokens": {**_spread(counts), "model_max": length, "cut_share": cut, "cut_rows": len(rows)}}
    if not len(rows):
        return numbers, []
    title = f"{name}: texts of over {length:,} tokens: {len(rows):,} of {len(pairs):,}, {cut:.1%} of all tokens"
    what = "A larger --max-length reads more of them, where the model can."
    if len(pairs[0]) == 1:
        what += " Single texts are read in windows where over 5 % would be cut."
    longest = rows[np.argsort(-counts[rows], kind="stable")].tolist()
    places = [f"{place}: {counts[row]:,} tokens" for place, row in zip(shown(origins, longest), longest, strict=False)]
    return numbers, [Finding(Harm.CUT_OFF, title, places, what, len(rows))] if cut > _MUCH_CUT or len(rows) > len(
        pairs
    ) / 20 else []


def _spread(counts: np.ndarray) -> dict[str, int]:
    return {
        "min": int(counts.min()),
        "median": int(np.median(counts)),
        "95%": int(np.percentile(counts, 95)),
        "max": int(counts.max()),
    }
