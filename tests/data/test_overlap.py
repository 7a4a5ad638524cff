from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from patchword.data import overlap
from patchword.data.overlap import RUN, SHORTEST, overlapping
from patchword.data.store import Sequences


def some(random: np.random.Generator, lengths: list[int], words: int = 50) -> list[np.ndarray]:
    return [random.integers(0, words, length).astype(np.uint16) for length in lengths]


def made(sequences: list[np.ndarray]) -> Sequences:
    return Sequences.from_arrays(sequences)


lengths = st.lists(st.integers(1, 90), min_size=1, max_size=12)


@given(seed=st.integers(0, 999), train=lengths, held_out=lengths)
def test_text_of_its_own_does_not_overlap(seed: int, train: list[int], held_out: list[int]) -> None:
    random = np.random.default_rng(seed)
    theirs = [words + 100 for words in some(random, train)]
    assert not overlapping(made(theirs), made(some(random, held_out))).any()


@given(seed=st.integers(0, 999), train=lengths, held_out=lengths, data=st.data())
def test_a_copied_sequence_is_found(seed: int, train: list[int], held_out: list[int], data: st.DataObject) -> None:
    random = np.random.default_rng(seed)
    theirs, ours = [words + 100 for words in some(random, train)], some(random, held_out)
    copied = data.draw(st.sets(st.integers(0, len(ours) - 1)))
    theirs += [ours[number] for number in copied]
    same = {number for number, words in enumerate(ours) if any(np.array_equal(words, ours[n]) for n in copied)}
    long = {number for number in same if len(ours[number]) >= SHORTEST}
    assert long <= set(np.flatnonzero(overlapping(made(theirs), made(ours)))) <= same


def test_a_long_run_inside_of_other_text_is_found_where_texts_are_cut_otherwise() -> None:
    random = np.random.default_rng(0)
    theirs = some(random, [400] * 20)
    ours = [words + 100 for words in some(random, [300] * 20)]
    for number in range(0, 20, 2):  # 200 tokens copied: 169 runs, of which one in 8 is compared
        ours[number][50:250] = theirs[number][77:277]
    assert np.flatnonzero(overlapping(made(theirs), made(ours))).tolist() == list(range(0, 20, 2))


def test_shorter_runs_and_runs_over_a_border_do_not_count() -> None:
    random = np.random.default_rng(1)
    theirs = some(random, [400] * 30)
    ours = [words + 100 for words in some(random, [60] * 30)]
    for number, words in enumerate(ours):
        words[10 : 10 + RUN - 1] = theirs[number][50 : 50 + RUN - 1]
    assert not overlapping(made(theirs), made(ours)).any()
    halves = [part for words in theirs for part in np.split(words[: 2 * (RUN - 1)], 2)]
    assert not overlapping(made(theirs), made(halves)).any()


def test_a_large_text_is_read_in_parts(monkeypatch) -> None:
    random = np.random.default_rng(2)
    theirs, ours = some(random, [70] * 40), some(random, [90] * 10)
    ours[3][20:80] = theirs[17][5:65]
    ours[7] = theirs[30].copy()
    at_once = overlapping(made(theirs), made(ours))
    monkeypatch.setattr(overlap, "_AT_ONCE", 100)
    assert np.array_equal(overlapping(made(theirs), made(ours)), at_once)
    assert at_once[7]
