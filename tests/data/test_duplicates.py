"""Duplicates of texts, against every pair compared with Python's sets."""

from __future__ import annotations

import random

import numpy as np
import pytest

from patchword.data.duplicates import duplicate_groups, normalised


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Hello,  World!", "hello world", True),
        ("ｆｕｌｌ width", "full width", True),
        ("good 😀", "good 😡", False),
        ("?!", "...", False),
        ("cafe\u0301", "café", True),
    ],
)
def test_what_is_the_same_text(one: str, other: str, same: bool) -> None:
    assert (normalised(one) == normalised(other)) is same
    assert (len(set(duplicate_groups([one, other]).tolist())) == 1) is same


def runs(text: str) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))}


def test_groups_are_those_of_every_pair_compared() -> None:
    draw = random.Random(3)
    texts = []
    for _ in range(100):
        words = [f"w{draw.randrange(3000)}" for _ in range(draw.randrange(1, 120))]
        texts.append(" ".join(words))
        for changes in range(draw.randrange(4)):
            changed = list(words)
            for _ in range(changes):
                changed[draw.randrange(len(words))] = f"x{draw.randrange(3000)}"
            texts.append(" ".join(changed))
    draw.shuffle(texts)
    sets = [runs(text) for text in texts]
    expected = list(range(len(texts)))
    pairs = similar = 0
    for i in range(len(texts)):
        for j in range(i):
            shared = len(sets[i] & sets[j])
            share = shared / (len(sets[i]) + len(sets[j]) - shared)
            similar += 0.3 < share < 0.8
            if share >= 0.8:
                pairs += 1
                expected = [expected[j] if group == expected[i] else group for group in expected]
    assert pairs > 40  # there is something to find, and something to leave
    assert similar > 20
    groups = duplicate_groups(texts)
    numbers = {group: i for i, group in enumerate(dict.fromkeys(expected))}
    assert groups.tolist() == [numbers[group] for group in expected]
    assert np.array_equal(groups, duplicate_groups(texts))


def test_without_near_only_the_same_are_grouped_and_nothing_is_no_error() -> None:
    text = " ".join(map(str, range(100)))
    assert duplicate_groups([text, text + " more", text.upper()], near=False).tolist() == [0, 1, 0]
    assert duplicate_groups([text, text + " more", text.upper()]).tolist() == [0, 0, 0]
    assert duplicate_groups([]).tolist() == []
