"""What is near what: the smallest use of contextual vectors."""

from __future__ import annotations

import numpy as np


def nearest(query: np.ndarray, vectors: np.ndarray, count: int) -> list[tuple[int, float]]:
    """The rows of `vectors` that are most like a query, best first, each with its cosine similarity.

    Args:
        query: `[width]`.
        vectors: `[n, width]`.
        count: how many at most.
    """
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    similarity = vectors @ query / np.maximum(norms, 1e-12)
    order = np.argsort(-similarity, kind="stable")[:count]
    return [(int(i), float(similarity[i])) for i in order]
