"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of a disk that is full, a quota that is used up, or a file that may grow no more."""


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An `OSError` of a write that names no file (a full disk does not) gets this one's name."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def as_os_error(error: Exception, path: Path) -> OSError:
    """What a library that is written in Rust raises where a file can not be written."""
    return OSError(errno.ENOSPC if "No space left" in str(error) else errno.EIO, str(error), str(path))


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that a kill at any moment leaves the old one or the new one, whole."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with naming(path), os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)  # mkstemp's own mode keeps everyone else out
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object, atomically.

    A byte of a path that is not UTF-8, which Python keeps as a lone surrogate, is written as the escape of it, so that
    reading the file gives the same path again.
    """
    write_file(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))
