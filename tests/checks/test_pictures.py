"""Checks of pictures."""

from __future__ import annotations

import io
from array import array

import numpy as np
from PIL import Image

from patchword.checks.pictures import Picture, look_at, not_decoded, picture_findings, picture_groups
from patchword.checks.run import check_rows
from patchword.data.sources import Labelled, Origins


def png(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def rows(items: list[bytes], labels: list[str] | None = None) -> Labelled:
    origins = Origins(["a.parquet"], array("q", [0] * len(items)), array("q", range(1, len(items) + 1)))
    return Labelled("image", items, labels or ["x"] * len(items), origins)


def scene(seed: int, side: int = 48) -> np.ndarray:
    """Smooth and unlike others."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), resample=2))


def test_the_same_pixels_in_other_files_and_nearly_the_same_pixels() -> None:
    one = scene(1)
    brighter = np.clip(one.astype(int) + 3, 0, 255).astype(np.uint8)
    darker = (one * 0.8).astype(np.uint8)  # the same differences, but another picture
    items = [png(one), png(one, "BMP"), png(brighter), png(scene(2)), png(darker)]
    exact, near = picture_groups(look_at(rows(items)))
    assert exact.tolist() == [0, 0, 1, 2, 3]
    assert near.tolist() == [0, 0, 0, 1, 2]


def test_blank_pictures_are_not_nearly_the_same() -> None:
    white, grey = (np.full((32, 32), level, np.uint8) for level in (255, 128))
    exact, near = picture_groups(look_at(rows([png(white), png(grey), png(white)])))
    assert exact.tolist() == near.tolist() == [0, 1, 0]


def test_hashes_two_bits_apart_are_near_and_three_are_not() -> None:
    """Against every pair compared."""
    draw = np.random.default_rng(0)
    hashes = [int.from_bytes(draw.bytes(8), "big") for _ in range(40)]
    for base in hashes[:20]:
        for count in (1, 2, 3, 4):
            hashes.append(base ^ sum(1 << int(bit) for bit in draw.choice(64, count, replace=False)))
    pictures = [
        Picture(size=(32, 32), pixels=bytes([i]), dhash=value, grey=bytes(72)) for i, value in enumerate(hashes)
    ]
    _, near = picture_groups(pictures)
    expected = list(range(len(hashes)))
    for i in range(len(hashes)):
        for j in range(i):
            if (hashes[i] ^ hashes[j]).bit_count() <= 2:
                expected = [expected[j] if group == expected[i] else group for group in expected]
    assert len(set(expected)) < len(hashes) - 30
    assert [near[i] == near[j] for i in range(120) for j in range(i)] == [
        expected[i] == expected[j] for i in range(120) for j in range(i)
    ]


def test_a_broken_picture_is_told_with_its_reason_and_left_out() -> None:
    data = rows([png(scene(1)), b"no picture", png(scene(1))[:200]])
    pictures = look_at(data)
    (found,) = not_decoded(pictures, "data")
    assert "2 of 3" in found.title
    assert found.places[0] == "a.parquet, row 2 is not an image that can be read."
    report = check_rows({"data": data})
    assert report.numbers["data"]["rows"] == 1
    assert report.findings[0] == found


def test_tiny_long_and_blank_pictures_and_modes() -> None:
    items = [png(scene(1)), png(scene(2, 8)), png(scene(3, 200)[:30]), png(np.zeros((32, 32), np.uint8))]
    data = rows(items)
    numbers, findings = picture_findings(data, look_at(data), "data")
    assert [finding.places for finding in findings] == [[f"a.parquet, row {row}"] for row in (2, 3, 4)]
    assert numbers["modes"] == {"RGB": 3, "L": 1}
    assert numbers["height"] == {"min": 8, "median": 31, "max": 48}


def test_pictures_in_two_splits_and_with_two_labels() -> None:
    train = rows([png(scene(i)) for i in range(12)] + [png(scene(0), "BMP")], ["a", "b"] * 6 + ["b"])
    test = rows([png(scene(3)), png(scene(20)), png(np.clip(scene(5), 3, 200))], ["b", "a", "b"])
    titles = [finding.title for finding in check_rows({"data": train, "test": test}).findings]
    assert "data: pictures that are the same but have different labels: 1, in 2 rows" in titles
    assert "test rows that are in the training data: 1 of 3" in titles
    assert any(
        title.startswith("test pictures that look nearly like one of the training data: 1 of 3") for title in titles
    )
