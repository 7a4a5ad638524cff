"""What each kind of image file becomes, against the levels that were written into it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from patchword.data.image_decoding import decode, decode_details, is_image
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


RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
"""Every grey level once."""


def tiff(
    levels: np.ndarray, bits: int = 16, form: int = 1, white_is_zero: bool = False, more: dict[int, int] | None = None
) -> bytes:
    """A grey TIFF as its specification (Adobe, TIFF 6.0) has it, written without a library.

    Args:
        levels: `[h, w]`, in the byte order and type in which they are written.
        bits: BitsPerSample.
        form: SampleFormat: 1 unsigned, 2 signed, 3 floating point.
        white_is_zero: PhotometricInterpretation 0.
        more: further tags of 16 bits.
    """
    order = ">" if levels.dtype.byteorder == ">" else "<"
    data = levels.tobytes()
    tags = {256: levels.shape[1], 257: levels.shape[0], 258: bits, 259: 1, 262: int(not white_is_zero), 277: 1}
    tags |= {278: levels.shape[0], 339: form, **(more or {})}
    long = {273: 8, 279: len(data)}
    entries = sorted(
        [(tag, 3, value) for tag, value in tags.items()] + [(tag, 4, value) for tag, value in long.items()]
    )
    directory = struct.pack(f"{order}H", len(entries))
    for tag, kind, value in entries:
        directory += struct.pack(f"{order}HHI", tag, kind, 1)
        directory += struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}I", 8 + len(data)) + data + directory + bytes(4)


def with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """A PNG with one more chunk before its pixels."""
    at = png.index(b"IDAT") - 4
    checked = kind + content
    return png[:at] + struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked)) + png[at:]


def twelve_packed(levels: np.ndarray) -> np.ndarray:
    """12-bit levels, two in three bytes, the most significant bits first: uint8 `[h, w * 3 / 2]`."""
    one, other = levels[:, ::2].astype(np.uint16), levels[:, 1::2].astype(np.uint16)
    packed = np.stack([one >> 4, (one & 15) << 4 | other >> 8, other & 255], 2)
    return packed.reshape(len(levels), -1).astype(np.uint8)


WIDE = RAMP.astype(np.int64)
GREYS: dict[str, tuple[Callable[[], bytes], int | None]] = {
    "int32 TIFF of 8-bit levels": (lambda: tiff(WIDE.astype("<i4"), 32, 2), 255),
    "uint32 TIFF of 8-bit levels": (lambda: tiff(WIDE.astype("<u4"), 32), 255),
    "int16 TIFF of 8-bit levels": (lambda: tiff(WIDE.astype("<i2"), 16, 2), 255),
    "uint16 TIFF of 8-bit levels": (lambda: tiff(WIDE.astype("<u2")), 255),
    "big-endian uint16 TIFF": (lambda: tiff((WIDE * 257).astype(">u2")), 65535),
    "int32 TIFF of 16-bit levels": (lambda: tiff((WIDE * 257).astype("<i4"), 32, 2), 65535),
    "big-endian int32 TIFF of 12-bit levels": (lambda: tiff((WIDE * 4095 // 255).astype(">i4"), 32, 2), 4095),
    "uint16 TIFF of 12-bit levels": (lambda: tiff((WIDE * 4095 // 255).astype("<u2")), 4095),
    "uint16 TIFF, white is zero": (lambda: tiff(((255 - WIDE) * 257).astype("<u2"), white_is_zero=True), 65535),
    "12-bit levels in uint16, white is zero": (
        lambda: tiff(((255 - WIDE) * 4095 // 255).astype("<u2"), white_is_zero=True),
        4095,
    ),
    "uint8 TIFF, white is zero": (lambda: tiff(255 - RAMP, 8, white_is_zero=True), None),
    "uint16 TIFF with a MaxSampleValue of 10 bits": (
        lambda: tiff((WIDE * 1023 // 255).astype("<u2"), more={281: 1023}),
        None,
    ),
    "uint16 TIFF with a MaxSampleValue of 14 bits": (
        lambda: tiff((WIDE * 16383 // 255).astype("<u2"), more={281: 16383}),
        None,
    ),
    "uint16 TIFF with a MaxSampleValue that its levels exceed": (
        lambda: tiff((WIDE * 257).astype("<u2"), more={281: 255}),
        65535,
    ),
    "float TIFF from 0 to 1": (lambda: tiff((WIDE / 255).astype("<f4"), 32, 3), 1),
    "float TIFF of 8-bit levels": (lambda: tiff(WIDE.astype("<f4"), 32, 3), 255),
    "big-endian float TIFF of 16-bit levels": (lambda: tiff((WIDE * 257).astype(">f4"), 32, 3), 65535),
    "uint8 TIFF": (lambda: tiff(RAMP, 8), None),
    "16-bit PNG": (lambda: encoded(Image.fromarray((WIDE * 257).astype(np.uint16))), 65535),
    "12 bits in a 16-bit PNG": (lambda: encoded(Image.fromarray((WIDE * 16).astype(np.uint16))), 4095),
    "PGM of 8 bits": (lambda: b"P5 16 16 255\n" + RAMP.tobytes(), None),
    "PGM of 16 bits": (lambda: b"P5 16 16 65535\n" + (WIDE * 257).astype(">u2").tobytes(), None),
    "PGM of 12 bits": (lambda: b"P5 16 16 4095\n" + (WIDE * 4095 // 255).astype(">u2").tobytes(), None),
    "PGM in letters": (lambda: b"P2 16 16 255\n" + b" ".join(b"%d" % level for level in RAMP.ravel()), None),
    "8-bit PNG": (lambda: encoded(Image.fromarray(RAMP)), None),
    "WebP without loss": (lambda: encoded(Image.fromarray(RAMP).convert("RGB"), "WEBP", lossless=True), None),
    "BMP": (lambda: encoded(Image.fromarray(RAMP), "BMP"), None),
    "GIF": (lambda: encoded(Image.fromarray(RAMP), "GIF"), None),
    "TGA": (lambda: encoded(Image.fromarray(RAMP), "TGA"), None),
    "PCX": (lambda: encoded(Image.fromarray(RAMP), "PCX"), None),
    "SGI": (lambda: encoded(Image.fromarray(RAMP), "SGI"), None),
    "DDS": (lambda: encoded(Image.fromarray(RAMP).convert("RGB"), "DDS"), None),
    "QOI": (lambda: encoded(Image.fromarray(RAMP).convert("RGB"), "QOI"), None),
    "ICO": (lambda: encoded(Image.fromarray(RAMP).convert("RGB"), "ICO"), None),
}


class TestGreyLevels:
    @pytest.mark.parametrize("kind", GREYS)
    def test_all_256_levels_of_each_kind_of_file(self, kind: str) -> None:
        write, assumed = GREYS[kind]
        details = decode_details(write(), kind)
        levels = np.asarray(details.rgb)
        assert np.array_equal(levels, np.repeat(RAMP[..., None], 3, 2)), f"{levels.min()} to {levels.max()}"
        assert details.assumed_white == assumed

    def test_twelve_bits_packed_state_their_range(self) -> None:
        levels = np.minimum(WIDE * 16, 4095)
        half = tiff(twelve_packed(levels // 2), 12)
        # Two pixels are three bytes: the width that was written is of bytes.
        at = half.index(struct.pack("<HHIHH", 256, 3, 1, 24, 0))
        half = half[: at + 8] + struct.pack("<HH", 16, 0) + half[at + 12 :]
        details = decode_details(half, "x")
        assert np.array_equal(np.asarray(details.rgb)[..., 0], levels // 2 >> 4)
        assert details.assumed_white is None, "a dark image is dark"

    def test_two_images_of_one_set_have_one_range(self) -> None:
        bright, dark = (tiff((WIDE * 257 // part).astype("<u2")) for part in (1, 8))
        assert np.asarray(decode(bright, "x")).max() == 255
        assert np.asarray(decode(dark, "x")).max() == 255 // 8

    @pytest.mark.parametrize(
        ("levels", "bits", "form", "said"),
        [
            (np.full((4, 4), -1, "<i4"), 32, 2, "negative"),
            (np.full((4, 4), -1, "<i2"), 16, 2, "negative"),
            (np.full((4, 4), -1, "i1"), 8, 2, "negative"),
            (np.full((4, 4), -0.5, "<f4"), 32, 3, "negative"),
            (np.full((4, 4), np.nan, "<f4"), 32, 3, "NaN"),
            (np.full((4, 4), 1 << 20, "<i4"), 32, 2, "32 bits"),
            (np.full((4, 4), 1e9, "<f4"), 32, 3, "floating-point"),
        ],
    )
    def test_levels_without_a_range_are_refused(self, levels: np.ndarray, bits: int, form: int, said: str) -> None:
        with pytest.raises(UserError, match=f"scan.tif can not be decoded.*{said}"):
            decode(tiff(levels, bits, form), "scan.tif")

    def test_transparent_grey_of_sixteen_bits_is_white(self) -> None:
        key = struct.pack(">H", 3 * 257)
        expected = RAMP.copy()
        expected[0, 3] = 255
        sixteen = with_chunk(encoded(Image.fromarray((WIDE * 257).astype(np.uint16))), b"tRNS", key)
        assert np.array_equal(np.asarray(decode(sixteen, "x"))[..., 0], expected)
        eight = with_chunk(encoded(Image.fromarray(RAMP)), b"tRNS", struct.pack(">H", 3))
        assert np.array_equal(np.asarray(decode(eight, "x"))[..., 0], expected)

    def test_transparent_colour_of_sixteen_bits_is_white(self) -> None:
        colours = np.zeros((2, 2, 3), ">u2")
        colours[0, 0] = 0x1234, 0x5678, 0x9ABC
        rows = b"".join(b"\0" + row.tobytes() for row in colours)
        png = b"\x89PNG\r\n\x1a\n"
        for kind, content in (
            (b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)),
            (b"tRNS", struct.pack(">HHH", 0x1234, 0x5678, 0x9ABC)),
            (b"IDAT", zlib.compress(rows)),
            (b"IEND", b""),
        ):
            png += struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        expected = np.zeros((2, 2, 3), np.uint8)
        expected[0, 0] = 255
        assert np.array_equal(np.asarray(decode(png, "x")), expected)


class TestFormats:
    @pytest.mark.parametrize(
        "kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "QOI", "SGI", "DDS"]
    )
    def test_recognised_by_content_whatever_the_ending(self, kind: str, tmp_path: Path) -> None:
        if kind in ("AVIF", "JPEG2000") and not features.check({"AVIF": "avif", "JPEG2000": "jpg_2000"}[kind]):
            pytest.skip(f"this Pillow is built without {kind}")
        smooth = np.repeat(np.linspace(0, 255, 16, dtype=np.uint8)[None], 16, 0)
        image = Image.fromarray(np.stack([smooth, smooth.T, 255 - smooth], 2))
        (tmp_path / "x").write_bytes(encoded(image, kind))
        assert is_image(tmp_path / "x")
        # Those with loss keep a smooth image to a few levels; GIF has 256 colours of a fixed palette.
        difference = np.abs(np.asarray(decode(tmp_path / "x", "x")).astype(int) - np.asarray(image))
        assert difference.mean() < {"GIF": 30, "JPEG": 12, "WEBP": 12, "AVIF": 12}.get(kind, 1)

    def test_other_content_is_no_image(self, tmp_path: Path) -> None:
        for content in (b"", b"P1 meeting", b"BM", b"some words\n" * 40, b"RIFF1234WAVE", b"\0\0\1\0"):
            (tmp_path / "x").write_bytes(content)
            assert not is_image(tmp_path / "x")
        assert not is_image(tmp_path / "gone")

    @pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
    def test_several_frames_are_noted(self, kind: str) -> None:
        frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
        assert decode_details(encoded(frames[0], kind, save_all=True, append_images=frames[1:]), "x").frames
        assert not decode_details(encoded(frames[0], kind), "x").frames

    def test_an_open_image_is_read_and_left_as_it_is(self) -> None:
        image = Image.fromarray(noise(4, 6))
        exif = image.getexif()
        exif[0x0112] = 6
        assert np.array_equal(np.asarray(decode(image, "x")), np.rot90(np.asarray(image), -1))
        assert image.size == (6, 4)

    def test_premultiplied_and_grey_with_alpha(self) -> None:
        half = Image.new("RGBA", (4, 4), (200, 0, 0, 128))
        expected = np.array([200, 0, 0]) * 128 / 255 + 255 * 127 / 255
        for image in (half, half.convert("RGBa")):
            assert np.abs(np.asarray(decode(image, "x"))[0, 0] - expected).max() <= 1
        grey = Image.new("LA", (4, 4), (100, 128))
        assert np.abs(np.asarray(decode(grey.convert("La"), "x"))[0, 0] - (100 * 128 + 255 * 127) / 255).max() <= 1
