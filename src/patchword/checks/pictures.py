"""What is odd in pictures, and which are the same or nearly: by their pixels, and by difference hashes.

dHash: whether each of 8 x 8 patches is darker than its right neighbour, 64 bits (Krawetz, Kind of Like That, 2013).
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from patchword.checks.findings import SHOWN, Finding, Harm, shown
from patchword.data.duplicates import Ids, linked
from patchword.data.image_decoding import decode_details
from patchword.data.images import oddities
from patchword.data.sources import Labelled
from patchword.errors import UserError

_BITS = 2  # of 64 in which nearly the same pictures differ at most
_LEVELS = 4  # of grey in which their patches differ at most, in the mean: letters of two fonts differ by more
_BANDS = ((0, 22), (22, 43), (43, 64))  # of bits: two that differ leave one of three bands as it is
_BESIDE = 32  # others of the same band that a picture is compared with
_FLAT = 4  # grey levels between the darkest and the lightest patch, under which a picture is blank
_TINY = 16  # pixels
_LONG = 5  # times as long as wide


@dataclass(frozen=True)
class Picture:
    """What is kept of a picture.

    Attributes:
        error: why it can not be decoded; the rest says nothing then.
        mode: as PIL calls its kind of pixels.
        size: (height, width).
        pixels: hash of its pixels and size.
        grey: of its 8 x 9 patches, a byte each.
        dhash: of its 8 x 8 differences; None where it is blank.
        oddities: what a person should know of how it was read.
    """

    error: str = ""
    mode: str = ""
    size: tuple[int, int] = (0, 0)
    pixels: bytes = b""
    grey: bytes = b""
    dhash: int | None = None
    oddities: tuple[str, ...] = ()


def look_at(data: Labelled) -> list[Picture]:
    """Each picture, decoded once."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(_picture, data.inputs, data.origins))


def _picture(item: Any, origin: str) -> Picture:
    try:
        decoded = decode_details(item, origin)
    except UserError as error:
        return Picture(error=str(error))
    image = decoded.rgb
    pixels = np.asarray(image)
    grey = np.asarray(image.convert("L").resize((9, 8), resample=1), np.int64)  # Lanczos
    bits = np.packbits(grey[:, :-1] < grey[:, 1:]).tobytes()
    digest = hashlib.blake2b(pixels.tobytes() + repr(pixels.shape).encode(), digest_size=16).digest()
    blank = np.ptp(grey) < _FLAT
    dhash = None if blank else int.from_bytes(bits, "big")
    patches = grey.astype(np.uint8).tobytes()
    return Picture("", decoded.mode, pixels.shape[:2], digest, patches, dhash, tuple(oddities(decoded)))


def picture_findings(data: Labelled, pictures: Sequence[Picture], name: str) -> tuple[dict[str, Any], list[Finding]]:
    """Sizes and modes, and pictures that are tiny, long or blank."""
    sizes = np.array([picture.size for picture in pictures])
    (low_h, low_w), (high_h, high_w) = sizes.min(0).tolist(), sizes.max(0).tolist()
    median = np.median(sizes, axis=0).astype(int).tolist()
    numbers = {
        "height": {"min": low_h, "median": median[0], "max": high_h},
        "width": {"min": low_w, "median": median[1], "max": high_w},
        "modes": dict(Counter(picture.mode for picture in pictures).most_common()),
    }
    findings = []
    odd = (
        ("with a side under 16 pixels", sizes.min(1) < _TINY, "Little can be seen in them; find larger ones."),
        ("over five times as long as wide", sizes.max(1) > _LONG * sizes.min(1), "Cut them, or they are squeezed."),
        (
            "of one colour",
            np.array([picture.dhash is None for picture in pictures]),
            "Remove them unless nothing is what is to be learnt.",
        ),
    )
    for kind, is_odd, what in odd:
        rows = np.flatnonzero(is_odd).tolist()
        if rows:
            title = f"{name}: pictures {kind}: {len(rows):,} of {len(pictures):,}"
            findings.append(Finding(Harm.ODD_INPUT, title, shown(data.origins, rows), what, len(rows)))
    for kind in sorted({oddity for picture in pictures for oddity in picture.oddities}):
        rows = [row for row, picture in enumerate(pictures) if kind in picture.oddities]
        title = f"{name}: images that {kind}: {len(rows):,} of {len(pictures):,}"
        what = "Convert them if that is not what you want."
        findings.append(Finding(Harm.ODD_INPUT, title, shown(data.origins, rows), what, len(rows)))
    return numbers, findings


def not_decoded(pictures: Sequence[Picture], name: str) -> list[Finding]:
    """Pictures that a model can not be shown, with the reasons."""
    errors = [picture.error for picture in pictures if picture.error]
    if not errors:
        return []
    title = f"{name}: pictures that can not be used: {len(errors):,} of {len(pictures):,}"
    what = "Replace or remove them; they were left out of what follows."
    return [Finding(Harm.UNUSABLE_ROWS, title, errors[:SHOWN], what, len(errors))]


def picture_groups(pictures: Sequence[Picture]) -> tuple[Ids, Ids]:
    """Group numbers of the pictures, (pictures,) each: of those with the same pixels, and of those nearly the same.

    Nearly the same are two whose dHashes differ in 2 bits at most, and their patches by 4 grey levels in the mean. In
    large groups of pictures that share a third of their bits, each is compared with the 32 next ones only.
    """
    first: dict[bytes, int] = {}
    exact = np.array([first.setdefault(picture.pixels, len(first)) for picture in pictures], np.int64)
    hashed = [row for row, picture in enumerate(pictures) if picture.dhash is not None]
    hashes = np.array([pictures[row].dhash for row in hashed], np.uint64)
    grey = np.frombuffer(b"".join(pictures[row].grey for row in hashed), np.uint8).reshape(-1, 72).astype(np.int16)
    pairs = []
    for a, b in _close(hashes):
        alike = np.abs(grey[a] - grey[b]).mean(1) <= _LEVELS
        pairs.append(np.stack([exact[hashed][a[alike]], exact[hashed][b[alike]]], 1))
    return exact, linked(np.concatenate([*pairs, np.zeros((0, 2), np.int64)]).tolist(), len(first))[exact]


def _close(hashes: np.ndarray) -> list[tuple[Ids, Ids]]:
    """Positions of two hashes that differ in few bits."""
    found = []
    for low, high in _BANDS:
        band = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.lexsort((hashes, band))
        for step in range(1, min(_BESIDE + 1, len(hashes))):
            a, b = order[:-step], order[step:]
            near = (band[a] == band[b]) & (np.bitwise_count(hashes[a] ^ hashes[b]) <= _BITS)
            found.append((a[near], b[near]))
    return found
