"""Pixels compared with PIL's own arithmetic and closed forms."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from patchword.data.image_decoding import decode
from patchword.data.image_processor import ImageProcessor
from patchword.data.images import Images
from patchword.data.sources import read_labelled
from patchword.errors import UserError


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes) -> np.ndarray:
    image = decode(data, "x")
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


class TestImages:
    processor = ImageProcessor((8, 6))

    def items(self, tmp_path: Path, count: int = 10) -> list[Path | bytes]:
        items: list[Path | bytes] = []
        for i in range(count):
            data = encoded(Image.fromarray(noise(9 + i, 20, seed=i)))
            (tmp_path / f"{i}.png").write_bytes(data)
            items.append(tmp_path / f"{i}.png" if i % 2 else data)
        return items

    @pytest.mark.parametrize("kept", [0, 4, 10], ids=lambda kept: f"{kept} kept")
    def test_fetch(self, tmp_path: Path, kept: int) -> None:
        items = self.items(tmp_path)
        images = Images(items, [f"row {i}" for i in range(10)], self.processor, cache_bytes=kept * 8 * 6 * 3 + 1)
        one_by_one = [self.processor.fit(decode(item, "")) for item in items]
        for ids in ([3, 9, 0, 3], [9, 8, 7, 3, 2], []):
            fetched = images.fetch(np.array(ids, int))
            expected = np.stack(one_by_one)[ids].transpose(0, 3, 1, 2) / 127.5 - 1
            assert fetched.shape == (len(ids), 3, 8, 6)
            assert fetched.dtype == np.float32
            np.testing.assert_allclose(fetched, expected, atol=1e-6)

    def test_what_fits_is_read_once(self, tmp_path: Path) -> None:
        items = self.items(tmp_path)
        images = Images(items, list("abcdefghij"), self.processor, cache_bytes=4 * 8 * 6 * 3)
        images.check()
        before = images.fetch(np.arange(4))
        for path in tmp_path.iterdir():
            path.unlink()
        assert np.array_equal(images.fetch(np.arange(4)), before)
        with pytest.raises(UserError, match=r"^f "):
            images.fetch(np.array([4, 5]))

    def test_check_names_the_broken_ones_and_counts_them(self, tmp_path: Path) -> None:
        items = self.items(tmp_path)
        for i in range(2, 9):
            items[i] = b"broken"
        done: list[tuple[int, int]] = []
        images = Images(items, [f"a.parquet, row {i}" for i in range(10)], self.processor)
        with pytest.raises(UserError) as caught:
            images.check(lambda *counts: done.append(counts))
        said = str(caught.value)
        assert said.startswith("7 images of 10")
        assert [f"row {i} " in said for i in range(10)] == [2 <= i < 7 for i in range(10)]
        assert "and 2 more" in said
        assert done[-1] == (10, 10)
        Images(items[:2], ["a", "b"], self.processor).check()

    def test_another_size_without_resizing_is_named(self) -> None:
        images = Images([encoded(Image.new("RGB", (5, 4)))], ["a.png"], ImageProcessor((4, 4), do_resize=False))
        with pytest.raises(UserError, match=r"a\.png: the image has 5 x 4 pixels"):
            images.fetch(np.array([0]))

    def test_median_size_is_of_the_upright_images(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = encoded(Image.new("RGB", (50, 20)), exif=exif)
        items = [turned, turned, encoded(Image.new("RGB", (20, 50))), b"broken", turned]
        assert Images(items, list("abcde"), self.processor).median_size() == (50, 20)
        with pytest.raises(UserError, match="None of the images"):
            Images([b"broken"], ["a"], self.processor).median_size()

    def test_levels_as_shares_are_normalised_as_they_are(self, tmp_path: Path) -> None:
        processor = ImageProcessor((8, 6), mean=(0.1, 0.5, 0.4), std=(0.2, 0.3, 0.5))
        images = Images(self.items(tmp_path), list("abcdefghij"), processor)
        levels = images.levels(np.arange(10)).transpose(0, 3, 1, 2)
        shares = levels.astype(np.float32) / 255
        np.testing.assert_allclose(processor.normalise_shares(shares), images.fetch(np.arange(10)), atol=1e-5)

    def test_fetch_from_several_threads(self, tmp_path: Path) -> None:
        items = self.items(tmp_path)
        images = Images(items, list("abcdefghij"), self.processor)
        expected = Images(items, list("abcdefghij"), self.processor).fetch(np.arange(10))
        wrong: list[int] = []

        def work(seed: int) -> None:
            ids = np.random.default_rng(seed).integers(0, 10, 30)
            if not np.array_equal(images.fetch(ids), expected[ids]):
                wrong.append(seed)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def test_real_images() -> None:
    if "PATCHWORD_DATA" not in os.environ:
        pytest.skip("PATCHWORD_DATA does not name the folder with the real data sets")
    emoji = read_labelled(Path(os.environ["PATCHWORD_DATA"]) / "emoji-validation.parquet")
    images = Images(emoji.inputs, emoji.origins, ImageProcessor((48, 48)))
    images.check()
    assert images.median_size() == (48, 48)
    batch = images.fetch(np.arange(len(emoji)))
    assert batch.shape == (374, 3, 48, 48)
    assert np.median(batch[:, :, 0, 0]) == 1, "the corners are transparent, so white"
