"""Windows over a long text: where each begins and ends."""

from __future__ import annotations

import numpy as np


def window_counts(lengths: np.ndarray, room: int, stride: int) -> np.ndarray:
    """How many windows each text needs, `[n]` -> `[n]`.

    Args:
        lengths: ids of each text.
        room: ids of a window, at most.
        stride: ids from the beginning of a window to that of the next, at most.
    """
    return 1 + np.maximum(0, -((room - lengths) // stride))


def even_starts(lengths: np.ndarray, counts: np.ndarray, numbers: np.ndarray, room: int) -> np.ndarray:
    """Where window `numbers` of each text begins, `[n]`: the first with the text, and the last ends with it.

    Args:
        lengths: ids of each text, `[n]`.
        counts: windows of each, as `window_counts` gives them, `[n]`.
        numbers: of a window, from 0, `[n]`.
        room: ids of a window, at most.
    """
    apart = np.maximum(0, lengths - room) / np.maximum(counts - 1, 1)
    return np.rint(apart * numbers).astype(np.int64)


def windows(length: int, room: int, stride: int, even: bool = True) -> list[tuple[int, int]]:
    """(start, end) of windows of at most `room` ids that together hold all of a text, in their order.

    Args:
        length: ids of the text.
        room: ids of a window, at most.
        stride: ids from the beginning of a window to that of the next, at most.
        even: all windows are equally long; else they are exactly `stride` apart and the last is shorter, as Devlin et
            al. 2018 have them for questions.
    """
    lengths = np.array([length])
    counts = window_counts(lengths, room, stride)
    numbers = np.arange(counts[0])
    starts = even_starts(lengths, counts, numbers, room) if even else numbers * stride
    return [(start, min(start + room, length)) for start in starts.tolist()]
