"""Tags of words: entities as seqeval reads them, and no sequence that can not be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchword.tasks.entity_metrics import entity_counts, entity_scores
from patchword.tasks.tags import entities, label_names, marks_spans, to_bio, transitions, viterbi

seqeval = pytest.importorskip("seqeval.metrics")
labelling = pytest.importorskip("seqeval.metrics.sequence_labeling")

KINDS = ("A", "B-C", "O")  # names that look like tags themselves
LABELS = label_names(f"B-{kind}" for kind in KINDS)
ANY_TAG = st.sampled_from(["O", *(f"{prefix}-{kind}" for prefix in "BIES" for kind in KINDS)])
SENTENCE = st.lists(ANY_TAG, max_size=12)


@given(SENTENCE)
def test_entities_are_those_of_seqeval(tags: list[str]) -> None:
    ours = [(kind, first, last - 1) for first, last, kind in entities(to_bio(tags)[0])]
    assert ours == labelling.get_entities(tags)


@given(SENTENCE)
def test_bio_stays_as_it_is(tags: list[str]) -> None:
    bio, _ = to_bio(tags)
    assert to_bio(bio) == (bio, 0)


def test_schemes_are_read() -> None:
    expected = ["B-A", "I-A", "O", "B-B", "B-B", "I-B"]
    assert to_bio(["B-A", "E-A", "O", "S-B", "B-B", "E-B"]) == (expected, 0)
    assert to_bio(["B-A", "L-A", "O", "U-B", "B-B", "L-B"]) == (expected, 0)
    assert to_bio(["I-A", "I-A", "O", "I-B", "B-B", "I-B"]) == (expected, 2)
    assert to_bio(["B-A", "I-B"]) == (["B-A", "B-B"], 1)


def test_parts_of_speech_mark_no_spans() -> None:
    assert not marks_spans(["NOUN", "O", ".", "E-MAIL"])
    assert marks_spans(["O", "B-X"])
    assert label_names(["NOUN", ".", "ADJ"]) == (".", "ADJ", "NOUN")
    assert label_names(["I-Z", "B-A", "O"]) == ("O", "B-A", "B-Z", "I-A", "I-Z")


@given(st.lists(st.tuples(SENTENCE, st.integers(0, 2**32 - 1)), min_size=1, max_size=6))
def test_scores_are_those_of_seqeval(rows: list[tuple[list[str], int]]) -> None:
    truth = [tags for tags, _ in rows]
    said = []
    for tags, seed in rows:
        random = np.random.default_rng(seed)
        said.append([tag if random.random() < 0.6 else str(random.choice(LABELS)) for tag in tags])
    ours = entity_scores(
        entity_counts(*([entities(to_bio(tags)[0]) for tags in side] for side in (truth, said)), KINDS), KINDS
    )
    for name in ("precision", "recall", "f1"):
        theirs = getattr(seqeval, f"{name}_score")(truth, said, zero_division=0)
        assert ours[name] == pytest.approx(theirs)
    assert ours["f1_low"] <= ours["f1"] + 1e-12
    assert ours["f1"] <= ours["f1_high"] + 1e-12 or len(rows) < 6
    if any(entities(to_bio(tags)[0]) for tags in [*truth, *said]):
        report = seqeval.classification_report(truth, said, output_dict=True, zero_division=0)
        for kind in KINDS:
            assert ours[f"f1 {kind}"] == pytest.approx(report.get(kind, {"f1-score": 0.0})["f1-score"])


def allowed(labels: tuple[str, ...], path: tuple[int, ...]) -> bool:
    """By the definition: an I-X stands after B-X or I-X only."""
    names = ["O", *(labels[i] for i in path)]
    return all(not now.startswith("I-") or before in (f"B-{now[2:]}", now) for before, now in itertools.pairwise(names))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=70), st.integers(0, 2**32 - 1))
def test_the_best_allowed_path_is_found(lengths: list[int], seed: int) -> None:
    """Against all paths, tried one by one."""
    labels = label_names(["B-A", "B-B"])
    random = np.random.default_rng(seed)
    scores = [random.normal(size=(length, len(labels))) * 3 for length in lengths]
    for given_scores, path in zip(scores, viterbi(scores, *transitions(labels)), strict=True):
        length = len(given_scores)
        assert len(path) == length
        assert allowed(labels, tuple(path))
        paths = [p for p in itertools.product(range(len(labels)), repeat=length) if allowed(labels, p)]
        best = max(given_scores[np.arange(length), list(p)].sum() for p in paths)
        assert given_scores[np.arange(length), path].sum() == pytest.approx(best)
