"""Text files as a person has them: their encoding is found out and reported, never assumed silently."""

from __future__ import annotations

import codecs
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TextIO

from patchword.errors import Notice, UserError

_MARKS = (  # byte order marks; that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WINDOWS = "cp1252"
_BLOCK = 1 << 20

_HIGH = re.compile(rb"[\x80-\xff]")
_MULTIBYTE = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_FEW_MULTIBYTE = 0.05  # share of the bytes above 127 that form UTF-8 by chance in Windows-1252, at most

# What a text in another encoding becomes when it is read as Windows-1252.
_UNLIKELY = re.compile(
    r"[A-Za-zÀ-ÿ][\x80-\x9f€‚ƒ„…†‡ˆ‰‹“”•˜™›¡-¿×÷][A-Za-zÀ-ÿ]"  # a sign inside a word
    r"|[a-zß-ö][À-ÖØ-ÞŠŽŸŒ]"  # a capital after a small letter
    r"|[ÐÞðþ]"  # of Icelandic, but also of Turkish in its own encoding
)
_MOST_UNLIKELY = 0.02  # share of the characters beyond ASCII
_MOST_LETTERS = 0.25  # share of the letters that are beyond ASCII: Cyrillic or Greek text has nearly all there
_SURE = 10  # characters beyond ASCII from which on the certainty is high


@contextmanager
def reading_text(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """The file open as text, in the encoding that it has (`encoding_of`).

    Raises:
        UserError: it can not be read, or its encoding can not be told.
    """
    try:
        with path.open(encoding=encoding_of(path), newline=newline) as file:
            yield file
    except UnicodeError as error:
        raise UserError(f"{path} can not be decoded: {error}. Save the file as UTF-8.") from None
    except OSError as error:
        raise UserError(f"{path} can not be read: {error.strerror or error}.") from None


def encoding_of(path: Path) -> str:
    """The encoding of a text file: UTF-8, UTF-16 or UTF-32 with a mark, or Windows-1252 (which holds Latin-1).

    Windows-1252 is what spreadsheets write where UTF-8 is not chosen. It is taken only where no byte speaks for UTF-8
    and what comes out looks like text in Latin letters; a `Notice` says so once. (charset-normalizer was tried: it
    takes "niño" for Chinese and "£5" for "Ł5".)

    Raises:
        UserError: another encoding, or UTF-8 with wrong bytes; the message names the first of them.
    """
    status = path.stat()
    name, note = _encoding_of(path, status.st_size, status.st_mtime_ns)
    if note:
        warnings.warn(note, Notice, stacklevel=2)
    return name


@lru_cache(maxsize=256)
def _encoding_of(path: Path, size: int, changed: int) -> tuple[str, str]:
    """The encoding, and what is to be reported."""
    with path.open("rb") as file:
        head = file.read(4096)
        for mark, name in _MARKS:
            if head.startswith(mark):
                note = f"{path} is read as {name.upper()}: it begins with its byte order mark."
                return name, "" if name == "utf-8-sig" else note
        if wide := _without_mark(head):
            return wide, f"{path} is read as {wide.upper()}: every other of its first bytes is zero."
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            block = head
            while block:
                decoder.decode(block)
                block = file.read(_BLOCK)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return _WINDOWS, _why_windows(path)
    return "utf-8", ""


def _without_mark(head: bytes) -> str | None:
    """UTF-16 without its mark, told by the zero bytes of ASCII characters; a text has few other zeros."""
    even, odd = (head[side::2].count(0) / max(1, len(head) // 2) for side in (0, 1))
    if len(head) < 8 or max(even, odd) < 0.6 or min(even, odd) > 0.1:
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _why_windows(path: Path) -> str:
    """Why a file that is not UTF-8 is read as Windows-1252, and how sure that is.

    Raises:
        UserError: they do not; the message says where the first wrong byte stands.
    """
    high = multibyte = beyond = unlikely = letters = beyond_letters = undefined = 0
    example = ""
    wrong = ""
    offset = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.isascii():
                high += len(_HIGH.findall(line))
                multibyte += sum(map(len, _MULTIBYTE.findall(line)))
                if not wrong:
                    try:
                        line.decode("utf-8")
                    except UnicodeDecodeError as error:
                        at = offset + error.start
                        wrong = f"line {number} has the byte 0x{line[error.start]:02x} at offset {at} of the file"
                text = line.decode(_WINDOWS, "replace")
                undefined += text.count("\ufffd")
                unlikely += len(_UNLIKELY.findall(text))
                found = [character for character in text if character > "\x7f"]
                beyond += len(found)
                beyond_letters += sum(map(str.isalpha, found))
                example = example or next(word for word in text.split() if not word.isascii())[:30]
            else:
                text = line.decode()
            letters += sum(map(str.isalpha, text)) if number <= 10_000 else 0
            offset += len(line)
    if 2 * multibyte > high:
        raise UserError(
            f"{path} is UTF-8 with {high - multibyte:,} wrong bytes: {wrong}. Take the text from its source again, or "
            "save the file as UTF-8."
        )
    fits = (
        not undefined
        and multibyte <= _FEW_MULTIBYTE * high
        and unlikely <= _MOST_UNLIKELY * beyond
        and beyond_letters <= _MOST_LETTERS * letters
    )
    if not fits:
        raise UserError(
            f"{path} is neither UTF-8 nor Windows-1252 (Latin-1), and its encoding can not be told: {wrong}. Save the "
            'file as UTF-8 (spreadsheets call it "CSV UTF-8").'
        )
    sure = "surely" if beyond >= _SURE else "probably"
    return (
        f"{path} is not UTF-8 but {sure} Windows-1252 (Latin-1), and is read as that: {beyond:,} characters beyond "
        f"ASCII, such as in {example!r}. If they look wrong, save the file as UTF-8."
    )
