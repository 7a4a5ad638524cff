"""Where a command may write: never over what it is about to read."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from patchword.data.files import Data, items_of
from patchword.errors import UserError


def refuse_output_over_inputs(
    out: str | Path, inputs: Mapping[str, Data | None], *, folder: bool = False, read_whole: Collection[str] = ()
) -> None:
    """Check, before anything is written, that an output does not replace an input of the same command.

    Symbolic links are resolved on both sides. What is no path (a sentence, a name on the hub) is skipped.

    Args:
        out: the file to write, or the folder.
        inputs: by the name a user knows each by, such as "--validation": files, folders, patterns, or lists of them.
        folder: `out` is a folder, so that an input inside it is refused, too.
        read_whole: names of inputs whose folders are read with all that is in them. A folder `out` inside such a
            folder is refused: the next command would read what this one wrote.

    Raises:
        UserError: `out` is an input, contains one, or lies where it would be read as one.
    """
    target = Path(os.path.realpath(Path(out).expanduser()))
    for name, data in inputs.items():
        for item in [] if data is None else items_of(data):
            for path, real in _behind(item):
                if real == target:
                    raise UserError(f"{out} is an input of this command ({name}). Choose another --out.")
                if folder and target in real.parents:
                    raise UserError(
                        f"{out} contains {path}, which is an input of this command ({name}). Choose another --out."
                    )
                if folder and name in read_whole and real in target.parents and real.is_dir():
                    raise UserError(
                        f"{out} is inside {path} ({name}), so the next command would read its files as data. Choose an "
                        "--out elsewhere."
                    )


def _behind(item: Path) -> Iterator[tuple[Path, Path]]:
    """What an item stands for, as it is written and resolved; all that is in a folder, too."""
    if os.path.lexists(item):
        yield item, Path(os.path.realpath(item))
        if os.path.isdir(item):
            yield from _inside(str(item), os.path.realpath(item), ())
    elif glob.has_magic(str(item)):
        for match in glob.iglob(str(item), recursive=True):
            yield Path(match), Path(os.path.realpath(match))


def _inside(folder: str, real: str, above: tuple[str, ...]) -> Iterator[tuple[Path, Path]]:
    """Only links are resolved one by one; a folder with many files is walked in the time of its listing."""
    if real in above or not os.access(folder, os.R_OK | os.X_OK):
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):  # not read as data
                continue
            place = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(real, entry.name)
            if entry.is_symlink() or not entry.is_dir():
                yield Path(entry.path), Path(place)
            if entry.is_dir():
                yield from _inside(entry.path, place, (*above, real))
