"""Tags of words that mark entities: B-X begins one, I-X goes on with it, O is none (Ramshaw and Marcus 1995)."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Sequence

import numpy as np

_PREFIXED = re.compile("([BIESLU])-(.+)", re.DOTALL)
OUTSIDE = "O"


def marks_spans(names: Iterable[str]) -> bool:
    """Whether tags mark entities (O, B-X, I-X, ...) and are no plain tags, such as parts of speech."""
    names = set(names)
    prefixed = {name for name in names if _PREFIXED.fullmatch(name)}
    return any(name[0] in "BI" for name in prefixed) and names - prefixed <= {OUTSIDE, ""}


def to_bio(tags: Sequence[str]) -> tuple[list[str], int]:
    """BIO, IOB1, BIOES or BILOU as BIO, and how many entities began without a B.

    An I-X (E-X, L-X) that goes on with no entity of its kind begins one, as in IOB1, and as seqeval reads it.
    """
    out = []
    repaired = 0
    before, kind_before = "O", ""
    for tag in tags:
        found = _PREFIXED.fullmatch(tag)
        prefix, kind = found.groups() if found else ("O", "")
        goes_on = before in ("B", "I") and kind == kind_before
        if prefix == "O":
            out.append(OUTSIDE)
        elif prefix in "IEL" and goes_on:
            out.append(f"I-{kind}")
        else:
            repaired += prefix in "IEL"
            out.append(f"B-{kind}")
        before, kind_before = prefix, kind
    return out, repaired


def respelled(bio: Sequence[str], known: Container[str]) -> list[str]:
    """BIO tags as a model of another program spells them: with S- or U- for a single word, E- or L- for the last one.

    Args:
        bio: tags that `to_bio` gave.
        known: the model's.
    """
    out = list(bio)
    for first, end, kind in entities(bio):
        ways = [f"{prefix}-{kind}" for prefix in ("SU" if end == first + 1 else "EL")]
        out[end - 1] = next((tag for tag in ways if tag in known), out[end - 1])
    return out


def entities(bio: Sequence[str]) -> list[tuple[int, int, str]]:
    """(first word, last word + 1, kind) of each entity in BIO tags that `to_bio` gave."""
    found: list[tuple[int, int, str]] = []
    for i, tag in enumerate(bio):
        if tag.startswith("B-"):
            found.append((i, i + 1, tag[2:]))
        elif tag.startswith("I-"):
            found[-1] = (found[-1][0], i + 1, tag[2:])
    return found


def label_names(tags: Iterable[str]) -> tuple[str, ...]:
    """Labels of a model in their order: O first, the rest by name; both B-X and I-X for every kind X of entity."""
    names = set(tags)
    if marks_spans(names):
        kinds = {name[2:] for name in names if name != OUTSIDE}
        names = {OUTSIDE} | {f"{prefix}-{kind}" for prefix in "BI" for kind in kinds}
    return tuple(sorted(names, key=lambda name: (name != OUTSIDE, name)))


def transitions(labels: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Which tag may come first `[classes]`, and which after which `[classes, classes]`, bool.

    An I-X comes only after B-X or I-X. A model of another program that has no B-X begins with I-X.
    """
    known = set(labels)
    begins = np.array([not (name[:2] in ("I-", "E-", "L-") and {f"B-{name[2:]}"} <= known) for name in labels])
    follows = np.array(
        [[name[2:] == before[2:] and before[:2] in ("B-", "I-") for name in labels] for before in labels]
    )
    return begins, begins[None, :] | follows


def viterbi(scores: Sequence[np.ndarray], begins: np.ndarray, follows: np.ndarray) -> list[np.ndarray]:
    """The best allowed sequence of tags for each sentence, all sentences step by step together.

    Args:
        scores: log-probabilities `[words, classes]` of each sentence.
        begins, follows: as `transitions` gives them.

    Returns:
        class numbers `[words]` for each; among equals, the first class.
    """
    out = [np.zeros(0, np.int64)] * len(scores)
    order = sorted((i for i in range(len(scores)) if len(scores[i])), key=lambda i: len(scores[i]))
    for start in range(0, len(order), 64):
        ids = order[start : start + 64]
        for i, path in zip(ids, _together([scores[i] for i in ids], begins, follows), strict=True):
            out[i] = path
    return out


def _together(scores: list[np.ndarray], begins: np.ndarray, follows: np.ndarray) -> list[np.ndarray]:
    longest = max(map(len, scores))
    classes = len(begins)
    stay = np.arange(classes)
    padded = np.zeros((len(scores), longest, classes))
    for row, sentence in zip(padded, scores, strict=True):
        row[: len(sentence)] = sentence
    lengths = np.array(list(map(len, scores)))
    may = np.where(follows, 0.0, -np.inf)
    best = padded[:, 0] + np.where(begins, 0.0, -np.inf)
    came = np.zeros((longest, len(scores), classes), np.int64)
    for t in range(1, longest):
        ways = best[:, :, None] + may
        goes = (t < lengths)[:, None]
        came[t] = np.where(goes, ways.argmax(1), stay)
        best = np.where(goes, ways.max(1) + padded[:, t], best)
    path = np.empty((len(scores), longest), np.int64)
    path[:, -1] = best.argmax(1)
    for t in range(longest - 1, 0, -1):
        path[:, t - 1] = came[t, np.arange(len(scores)), path[:, t]]
    return [row[:length] for row, length in zip(path, lengths, strict=True)]
