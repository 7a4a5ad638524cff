"""What `data` stands for: the files behind a path, a folder, a pattern, or a list of them."""

from __future__ import annotations

import glob
import hashlib
import os
import stat
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from patchword.data.image_decoding import is_image
from patchword.data.names import ARCHIVE_LEFTOVERS, shown_path
from patchword.data.tables import (
    COMMON_IMAGE_ENDINGS,
    CONLL_ENDINGS,
    HEIC_ENDINGS,
    IMAGE_ENDINGS,
    TABLE_ENDINGS,
    Modality,
)
from patchword.errors import Notice, UserError

Data = str | Path | Sequence[str | Path]

_ENDINGS = (".txt", *TABLE_ENDINGS, *CONLL_ENDINGS, *IMAGE_ENDINGS)
_READ = f"Files are read that end in {', '.join(('.txt', *TABLE_ENDINGS, *CONLL_ENDINGS, *COMMON_IMAGE_ENDINGS))}, ..."


class Found(dict[Path, Path]):
    """Each file that is read, sorted, with the folder it was looked for in: class folders count from there.

    Attributes:
        are_images: whether they are images; otherwise they are texts or tables.
        left_out: how much stands among them that is not read, and why, in sentences; empty where there is nothing.
    """

    are_images: bool = False
    left_out: str = ""


def find_files(data: Data) -> list[Path]:
    """The files that `data` stands for: a path, a folder, a pattern such as "notes/*.txt", or a list of them.

    Sorted; folders with all that is in them but hidden files. Text and images together are a UserError.
    """
    return list(find(data))


def ending(path: Path) -> str:
    return path.suffix.lower()


def items_of(data: Data) -> list[Path]:
    return [Path(item).expanduser() for item in ([data] if isinstance(data, str | Path) else data)]


def find(data: Data) -> Found:
    """What is read of `data`.

    A file counts as what its ending says; one with an unknown ending or none is an image where its content is one.
    What is left out is reported with a Notice.

    Raises:
        UserError: there is nothing to read; a file that was named is not read; texts and images are mixed.
    """
    kinds: dict[Path, Modality] = {}
    roots: dict[Path, Path] = {}
    left_out: dict[str, list[Path]] = {}
    for path in items_of(data):
        new: dict[Path, Modality] = {}
        root, candidates = _candidates(path)
        for file, reason in candidates:
            kind, why_not = _kind_of(file) if not reason else (None, reason)
            if kind is None and file == path:
                kind = _kind_named(file, why_not)
            if kind is None:
                left_out.setdefault(why_not, []).append(file)
            else:
                new[file] = kind
        # A .json beside other data describes them more often than it is one.
        if path.is_dir() and (others := {file: kind for file, kind in new.items() if ending(file) != ".json"}):
            left_out.setdefault(".json files beside other data", []).extend(new.keys() - others.keys())
            new = others
        if not new:
            raise UserError(f"There is nothing to read in {shown_path(path)}. {_READ} {_told(left_out, 0)}".rstrip())
        kinds |= new
        roots |= dict.fromkeys(new, root)
    if not kinds:
        raise UserError("No data given: name a file, a folder or a pattern.")
    images = [path for path, kind in kinds.items() if kind == "image"]
    if images and len(images) < len(kinds):
        texts = [path for path, kind in kinds.items() if kind == "text"]
        if text := next((path for path in texts if not is_image(path)), None):
            raise UserError(
                f"Text and images are mixed ({shown_path(text)}, {shown_path(images[0])}). Give one kind; a table that "
                "names images is given by itself."
            )
    found = Found({path: roots[path] for path in sorted(kinds)})
    found.are_images = bool(images)
    found.left_out = _told(left_out, len(found))
    if found.left_out:
        # Python shows a warning of the same text once, however often the data are looked for.
        warnings.warn(f"{', '.join(map(shown_path, items_of(data)))}: {found.left_out}", Notice, stacklevel=1)
    return found


def _told(left_out: Mapping[str, Sequence[Path]], read: int) -> str:
    """What is left out, in a sentence; empty where nothing is."""
    reasons = {reason: files for reason, files in sorted(left_out.items()) if files}
    if not reasons:
        return ""
    count = sum(map(len, reasons.values()))
    what = "1 file or folder is" if count == 1 else f"{count:,} files and folders are"
    counted = (f"{reason}: {len(files):,} (such as {shown_path(min(files))})" for reason, files in reasons.items())
    return f"{what} not read ({read:,} are): {'; '.join(counted)}."


def _candidates(path: Path) -> tuple[Path, Iterable[tuple[Path, str]]]:
    """The folder that names count from, and the files that an item stands for, each with why it is left out or ""."""
    if path.is_dir():
        return path, _walk(path)
    if path.exists():
        return path.parent, [(path, "")]
    if glob.has_magic(str(path)):
        matches = map(Path, glob.iglob(str(path), recursive=True))
        fixed = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
        return fixed, (found for match in matches for found in (_walk(match) if match.is_dir() else [(match, "")]))
    raise UserError(f"{shown_path(path)} does not exist.")


_EMPTY = "empty files"


def _kind_of(path: Path) -> tuple[Modality | None, str]:
    """What a file is, or None and why it is not read."""
    try:
        status = path.stat()
    except OSError:
        return None, "broken links" if path.is_symlink() else "files that can not be opened"
    if not stat.S_ISREG(status.st_mode):
        return None, "pipes or devices"
    if not status.st_size:
        return None, _EMPTY
    last = ending(path)
    if last in HEIC_ENDINGS and not is_image(path):
        return None, f"{last} files (they need the package pillow-heif)"
    if last in IMAGE_ENDINGS:
        return "image", ""
    if last in _ENDINGS:
        return "text", ""
    if is_image(path):
        return "image", ""
    return None, f"files with the ending '{last}'" if last else "files without an ending that are no images"


def _kind_named(path: Path, why_not: str) -> Modality:
    """What a file is that was named by itself: what is wrong with an empty one is reported by who reads it."""
    if why_not == _EMPTY and ending(path) in _ENDINGS:
        return "image" if ending(path) in IMAGE_ENDINGS else "text"
    raise UserError(f"{shown_path(path)} can not be read: {why_not} are not. {_READ}")


def _walk(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[tuple[Path, str]]:
    """All files of a folder, each with why it is left out or ""; circles of links are followed once."""
    if (real := folder.resolve()) in above:
        return
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = Path(entry)
                if entry.name.startswith((".", "~$")):  # of programs, such as Excel's lock of an open file
                    yield path, "hidden folders" if entry.is_dir() else "hidden files"
                elif not entry.is_dir():
                    yield path, ""
                elif entry.name in ARCHIVE_LEFTOVERS:
                    yield path, "folders that macOS adds to archives"
                else:
                    yield from _walk(path, (*above, real))
    except OSError as error:
        raise UserError(f"{shown_path(folder)} can not be read: {error.strerror or error}.") from None


def hash_of(parts: Iterable[bytes | str | Path]) -> str:
    """Hex blake2b of strings and bytes and the contents of files, each kept apart from the next."""
    total = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, Path):
            with part.open("rb") as file:
                total.update(hashlib.file_digest(file, hashlib.blake2b).digest())
        else:
            total.update(
                hashlib.blake2b(part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part).digest()
            )
    return total.hexdigest()
