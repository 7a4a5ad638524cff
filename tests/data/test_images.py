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

from patchword.data.image_processor import ImageProcessor
from patchword.data.images import Images, decode
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


class TestDecode:
    def test_grey_and_palette_and_black_and_white(self) -> None:
        grey = noise(5, 7, 1)
        expected = np.repeat(grey[..., None], 3, axis=2)
        assert np.array_equal(pixels(encoded(Image.fromarray(grey))), expected)
        four = Image.fromarray(grey // 64 * 64).convert("P")
        assert np.array_equal(pixels(encoded(four)), expected // 64 * 64)
        bits = Image.fromarray(grey > 127)
        assert bits.mode == "1"
        assert np.array_equal(pixels(encoded(bits)), (expected > 127) * 255)

    def test_transparent_parts_are_white(self) -> None:
        rgba = noise(6, 9, 4)
        alpha = rgba[..., 3:] / 255
        expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
        assert np.abs(pixels(encoded(Image.fromarray(rgba))) - expected).max() <= 1
        grey = Image.new("LA", (3, 3), (0, 0))
        assert pixels(encoded(grey)).min() == 255
        palette = Image.new("P", (3, 3), 0)
        palette.putpalette([10, 20, 30, 40, 50, 60])
        palette.putpixel((0, 0), 1)
        expected = np.full((3, 3, 3), 255)
        expected[0, 0] = 40, 50, 60
        assert np.array_equal(pixels(encoded(palette, transparency=0)), expected)
        keyed = encoded(Image.new("RGB", (3, 3), (1, 2, 3)), transparency=(1, 2, 3))
        assert pixels(keyed).min() == 255

    def test_cmyk(self) -> None:
        red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
        assert np.abs(pixels(encoded(red, "JPEG", quality=100)) - [255, 0, 0]).max() <= 3

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_sixteen_bits_are_scaled_not_clipped(self, kind: str) -> None:
        levels = np.array([[0, 257, 128 * 257], [200 * 257, 65535, 65535]], np.uint16)
        image = Image.fromarray(levels)
        assert image.mode == "I;16"
        expected = np.array([[0, 1, 128], [200, 255, 255]])
        assert np.array_equal(pixels(encoded(image, kind))[..., 1], expected)

    def test_big_endian_and_32_bit_containers(self) -> None:
        levels = np.array([[0, 257], [128 * 257, 65535]])
        expected = np.array([[0, 1], [128, 255]])
        assert np.array_equal(pixels(encoded(Image.fromarray(levels.astype(">u2")), "TIFF"))[..., 0], expected)
        assert np.array_equal(pixels(encoded(Image.fromarray(levels.astype(np.int32)), "TIFF"))[..., 0], expected)
        with pytest.raises(UserError, match="32 bits"):
            decode(encoded(Image.fromarray(levels.astype(np.int32) * 9), "TIFF"), "x")
        with pytest.raises(UserError, match="floating-point"):
            decode(encoded(Image.fromarray(levels.astype(np.float32)), "TIFF"), "x")

    @pytest.mark.parametrize(
        ("orientation", "upright"),
        [(1, lambda x: x), (3, lambda x: x[::-1, ::-1]), (6, lambda x: np.rot90(x, -1)), (8, np.rot90)],
    )
    def test_exif_orientation(self, orientation: int, upright: Any) -> None:
        stored = noise(4, 6)
        exif = Image.Exif()
        exif[0x0112] = orientation
        assert np.array_equal(pixels(encoded(Image.fromarray(stored), exif=exif)), upright(stored))

    @pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
    def test_first_frame_of_an_animation(self, kind: str) -> None:
        frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert Image.open(io.BytesIO(data)).n_frames == 2
        assert np.abs(pixels(data)[0, 0] - [255, 0, 0]).max() <= 3

    def test_the_two_pictures_in_one_of_phones(self) -> None:
        frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
        data = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:])
        assert Image.open(io.BytesIO(data)).format == "MPO"
        assert pixels(data).min() > 250

    def test_what_is_broken_is_named(self, tmp_path: Path) -> None:
        whole = encoded(Image.fromarray(noise(64, 64)), "JPEG")
        png = encoded(Image.fromarray(noise(64, 64)))
        for data in (whole[: len(whole) // 2], png[:2000], png[:60] + b"x" * 200, b"not an image", b""):
            with pytest.raises(UserError, match=r"cats\.parquet, row 7"):
                decode(data, "cats.parquet, row 7")
        (tmp_path / "a.png").write_bytes(png[:2000])
        for path in (tmp_path / "a.png", tmp_path / "gone.png", tmp_path):
            with pytest.raises(UserError, match=r"cats/a\.png"):
                decode(path, "cats/a.png")

    def test_too_small_and_too_large(self) -> None:
        with pytest.raises(UserError, match="x is 1 x 5 pixels"):
            decode(encoded(Image.new("RGB", (1, 5))), "x")
        assert decode(encoded(Image.new("RGB", (2, 2))), "x").size == (2, 2)
        bomb = b"P6 40000 40000 255\n" + bytes(100)
        with pytest.raises(UserError, match=r"bomb\.png is too large"):
            decode(bomb, "bomb.png")

    def test_no_program_is_started_for_a_file(self) -> None:
        eps = encoded(Image.new("RGB", (8, 8)), "EPS")
        assert Image.open(io.BytesIO(eps)).format == "EPS", "PIL would read it, by running Ghostscript"
        with pytest.raises(UserError, match="x is not an image"):
            decode(eps, "x")


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
