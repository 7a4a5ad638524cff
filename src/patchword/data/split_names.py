"""Folders, files and cells that are named after the splits of a data set: train, Validation, test_set, val2017, ..."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from patchword.data.columns import Sample
from patchword.data.names import shown_path
from patchword.data.tables import TABLE_ENDINGS, Filter, columns, rows
from patchword.errors import UserError

Split = Literal["train", "validation", "test"]

_WHAT = "(?:data|set|dataset|split|images?|imgs?|photos?|pictures?|samples?|files?|folder|subset|part)"
_SPLITS: dict[Split, str] = {
    "train": "train|training|trn",
    "validation": "val|valid|validation|validate|dev|devel|development",
    "test": "test|testing|tst|eval|evaluation|holdout|heldout",
}
_NAMED = {split: re.compile(rf"(?:{_WHAT}\W*)*(?:{names})\W*(?:{_WHAT}\W*)*\d*\W*") for split, names in _SPLITS.items()}
_SPLIT_COLUMN = re.compile(r"(?:data\W?)?(?:split|subset|partition|set)|dataset")


def split_named(name: str) -> Split | None:
    """The split that a name stands for, however it is spelled ("Train", "test_set", "training-images"), or None."""
    return _split_of(_words(name))


def _words(name: str) -> list[str]:
    return re.findall(r"[^\W_]+", name.casefold())


def _split_of(words: Sequence[str]) -> Split | None:
    return next((split for split, pattern in _NAMED.items() if pattern.fullmatch("-".join(words))), None)


def _by_split(names: Iterable[str]) -> tuple[dict[Split, list[str]], bool]:
    """The names that stand for splits, and whether there are others.

    Words that all names begin or end with do not count ("mnist_train" and "mnist_test").
    """
    words = {name: _words(name) for name in sorted(set(names))}
    for place in (0, -1):
        while len(words) > 1 and all(len(some) > 1 for some in words.values()):
            if len({some[place] for some in words.values()}) > 1:
                break
            for some in words.values():
                del some[place]
    found: dict[Split, list[str]] = {}
    for name, some in words.items():
        if split := split_named(name) or _split_of(some):
            found.setdefault(split, []).append(name)
    return found, sum(map(len, found.values())) < len(words)


def refuse_split_folders(names: Sequence[Path], root: Path) -> None:
    """Images of several splits in one folder would become classes, or be mixed.

    Args:
        names: of the images, from the folder that was given.
        root: that folder.

    Raises:
        UserError: folders at some depth are named after splits; the message has the command that uses them.
    """
    for depth in range(max((len(name.parts) for name in names), default=1) - 1):
        level = {name.parts[depth] for name in names if len(name.parts) > depth + 1}
        splits, others = _by_split(level)
        # A single "test" among other names is a class.
        if ("train" in splits and len(splits) > 1) or (splits and not others and (len(splits) > 1 or not depth)):
            above = {name.parts[:depth] for name in names if len(name.parts) > depth + 1}
            inner = root.joinpath(*next(iter(above))) if len(above) == 1 else root.joinpath(*"*" * depth)
            # A pattern names the files, so that the folders above the split stay their classes.
            given = {
                split: inner / folders[0] if len(above) == 1 else inner / folders[0] / "*"
                for split, folders in splits.items()
            }
            shown = ", ".join(folder for folders in splits.values() for folder in folders)
            raise UserError(
                f"{shown_path(root)} holds folders that are named after splits ({shown_path(shown)}), not after "
                f"classes. {_command(given)} If they are classes, give a table of paths and labels."
            )


def refuse_mixed_splits(found: Mapping[Path, Path], named: Iterable[Path], where: str | None) -> None:
    """Labelled rows of several splits would be read as one: files named after splits, or a column that names them.

    Args:
        found: tables, and the folders that they were looked for in.
        named: files that were given by themselves, which are read as they are given.
        where: "column=value": only such rows are read.

    Raises:
        UserError: two files or two rows are of different splits; the message has the command that uses them.
    """
    given = set(named)
    unnamed = {path.stem: path for path in found if path not in given}
    if len(splits := {split: unnamed[stems[0]] for split, stems in _by_split(unnamed)[0].items()}) > 1:
        shown = ", ".join(shown_path(path.name) for path in splits.values())
        raise UserError(
            f"{shown} are named after different splits and would be read as one. {_command(splits)} To read them as "
            "one, name each file."
        )
    tables = [path for path in found if path.suffix.lower() in TABLE_ENDINGS]
    kept = Filter(where) if where else None
    names = Sample.of(tables, kept).columns if tables else []
    column = next((name for name in names if _SPLIT_COLUMN.fullmatch(name.casefold().replace("_", "-"))), None)
    if column is None or (kept and kept.column == column):
        return
    counts: Counter[str] = Counter()
    for path in tables:
        if column in columns(path):
            counts.update(str(cells.get(column)) for _, cells in rows(path, [column], kept))
    kinds = {split_named(value) for value in counts}
    if len(kinds) > 1 and None not in kinds:
        values = ", ".join(f"{value} {count:,}" for value, count in counts.items())
        first = next((value for value in counts if split_named(value) == "train"), next(iter(counts)))
        raise UserError(
            f"{shown_path(tables[0])}: the column '{column}' names the split of each row ({values}), and all of them "
            f"would be read as one. --where {shlex.quote(f'{column}={first}')} reads those of one split. Rename the "
            "column if it is something else."
        )


def _command(given: Mapping[Split, Path]) -> str:
    quoted = {split: shlex.quote(shown_path(path)) for split, path in given.items()}
    train = quoted.pop("train", None) or next(iter(quoted.values()))
    options = " ".join(f"--{split} {path}" for split, path in quoted.items() if path != train)
    return f"Give each split: `patchword finetune START {train}{' ' * bool(options)}{options} --out FOLDER`."
