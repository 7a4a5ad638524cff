"""What `data` stands for: the files behind a path, a folder, a pattern, or a list of them."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from patchword.data.tables import CONLL_ENDINGS, IMAGE_ENDINGS, TABLE_ENDINGS
from patchword.errors import UserError

Data = str | Path | Sequence[str | Path]

_ENDINGS = (".txt", *TABLE_ENDINGS, *CONLL_ENDINGS, *IMAGE_ENDINGS)
_READ = f"Files are read that end in {', '.join(_ENDINGS)}."


def find_files(data: Data) -> list[Path]:
    """The files that `data` stands for: a path, a folder, a pattern such as "notes/*.txt", or a list of them.

    Sorted; folders with all that is in them but hidden files. Text and images together are a UserError.
    """
    return list(find(data))


def ending(path: Path) -> str:
    return path.suffix.lower()


def items_of(data: Data) -> list[Path]:
    return [Path(item).expanduser() for item in ([data] if isinstance(data, str | Path) else data)]


def find(data: Data) -> dict[Path, Path]:
    """Each file, and the folder it was looked for in: names and class folders count from there."""
    found: dict[Path, Path] = {}
    for path in items_of(data):
        new: dict[Path, Path]
        if path.is_dir():
            new = dict.fromkeys(_walk(path), path)
            # A .json beside other data describes them more often than it is one.
            new = {file: path for file in new if ending(file) in _ENDINGS and ending(file) != ".json"} or new
        elif path.exists():
            if ending(path) not in _ENDINGS:
                raise UserError(f"{path} ends in '{path.suffix}', which is not read. {_READ}")
            new = {path: path.parent}
        elif glob.has_magic(str(path)):
            fixed = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
            new = dict.fromkeys(map(Path, glob.iglob(str(path), recursive=True)), fixed)
        else:
            raise UserError(f"{path} does not exist.")
        new = {file: root for file, root in new.items() if ending(file) in _ENDINGS and file.is_file()}
        if not new:
            raise UserError(f"There is nothing to read in {path}. {_READ}")
        found.update(new)
    if not found:
        raise UserError("No data given: name a file, a folder or a pattern.")
    images = [path for path in found if ending(path) in IMAGE_ENDINGS]
    if images and len(images) < len(found):
        text = next(path for path in found if ending(path) not in IMAGE_ENDINGS)
        raise UserError(
            f"Text and images are mixed ({text}, {images[0]}). Give one kind; a table that names "
            "images is given by itself."
        )
    return dict(sorted(found.items()))


def _walk(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """All files but hidden ones; links are followed, those that lead in a circle once."""
    if (real := folder.resolve()) in above:
        return
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    yield from _walk(Path(entry), (*above, real))
                else:
                    yield Path(entry)
    except OSError as error:
        raise UserError(f"{folder} can not be read: {error.strerror or error}.") from None


def hash_of(parts: Iterable[bytes | str | Path]) -> str:
    """Hex blake2b of strings and bytes and the contents of files, each kept apart from the next."""
    total = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, Path):
            with part.open("rb") as file:
                total.update(hashlib.file_digest(file, hashlib.blake2b).digest())
        else:
            total.update(hashlib.blake2b(part.encode() if isinstance(part, str) else part).digest())
    return total.hexdigest()
