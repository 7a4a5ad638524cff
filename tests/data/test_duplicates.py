"""Duplicates of texts, against every pair compared with Python's sets."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from patchword.data.duplicates import duplicate_groups, linked, normalised, same_inputs, shared_runs


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Hello,  World!", "hello world", True),
        ("ｆｕｌｌ width", "full width", True),
        ("good 😀", "good 😡", False),
        ("?!", "...", False),
        ("cafe\u0301", "café", True),
        ("C", "C#", False),
        ("5 %", "5%", False),
        ("R&D", "RD", False),
        ("this & that", "this, that", True),
        ("C#.", "c#", True),
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


def test_shares_of_runs_that_stand_in_other_texts() -> None:
    draw = random.Random(5)
    train = [" ".join(draw.choices("abcd", k=draw.randrange(1, 40))) for _ in range(30)]
    other = [" ".join(draw.choices("abcd", k=draw.randrange(1, 40))) for _ in range(50)]

    def three(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}

    known = set().union(*map(three, train))
    expected = [len(three(text) & known) / max(len(three(text)), 1) for text in other]
    assert 0.1 < np.mean(expected) < 1
    np.testing.assert_allclose(shared_runs(train, other, 3), expected)
    assert shared_runs([], other, 3).tolist() == [0.0] * 50
    assert shared_runs(train, [], 3).tolist() == []


def test_links_make_groups_numbered_by_their_first() -> None:
    assert linked([(4, 1), (3, 4)], 6).tolist() == [0, 1, 2, 1, 1, 3]


def test_pictures_are_the_same_where_their_bytes_are(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"one")
    assert same_inputs([tmp_path / "a.png", b"one", b"two"]).tolist() == [0, 0, 1]
