"""Names of files, folders and classes as text that can be compared, printed and written."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path

ARCHIVE_LEFTOVERS = ("__MACOSX",)
"""Folders that programs add to archives, with files that are no data."""
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


def encodable(text: str) -> str:
    r"""Text that every encoding of Unicode can hold.

    A byte of a file name that is not UTF-8, which Python keeps as a lone surrogate, becomes `\xe9`, as `ls -b` and
    Python's own `repr` have it; any other lone surrogate becomes `\ud83d`. All else stays as it is.
    """
    if text.isascii() or not _SURROGATE.search(text):
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()


def escape_in_output(error: UnicodeError) -> tuple[str, int]:
    """A handler for `codecs.register_error`: what an encoding lacks is written as an escape, `encodable` for bytes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = encodable(error.object[error.start : error.end])
    return lacking.encode("ascii", "backslashreplace").decode(), error.end


def shown_path(path: Path | str) -> str:
    r"""A path for messages and tables: `encodable`, and on one line (a line break in a name becomes `\n`)."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), encodable(str(path)))


def class_name(name: str) -> str:
    """The name of a class, the same for all spellings that Unicode regards as equal (NFC).

    macOS and some archives write "é" as two code points (NFD); such a folder is the same class as one with "é" as one.
    """
    return encodable(unicodedata.normalize("NFC", name))
