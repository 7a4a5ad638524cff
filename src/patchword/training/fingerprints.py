"""Hashes of everything that a run's result depends on, so that a resumed run is exact or refused."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from patchword.data.files import hash_of
from patchword.errors import UserError
from patchword.training.paid import before
from patchword.training.run import BASELINES, RUN, RunConfig

_OF_A_MODEL = (".json", ".safetensors", ".txt", ".model")
_NOT_READ = (RUN, BASELINES)
_READER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "preprocessor_config.json",
)
_NAMES = {
    "data": "the data",
    "validation": "the validation data",
    "test": "the test data",
    "base": "the weights, config or tokenizer of the base checkpoint",
    "base_of_base": "the checkpoint that the base checkpoint was pretrained from",
    "reader": "the tokenizer or image processor in the run's folder",
}


def of_bases(run: RunConfig) -> dict[str, str]:
    """Of the base checkpoint and of the one that it was pretrained from, as far as there are such.

    Files are read again only if their size or time of change is another one than at the last call.
    """
    found = {}
    if not run.begins_anew:
        found["base"] = _of_files(tuple(_stat(path) for path in _model_files(Path(run.start))))
        if earlier := before(run):
            found["base_of_base"] = _of_files(tuple(_stat(path) for path in _model_files(Path(earlier.start))))
    return found


def of_data(facts: Mapping[str, Any]) -> dict[str, str]:
    """Of what was read, from the facts of the prepared data."""
    names = {"data": "fingerprint", "validation": "validation_fingerprint", "test": "test_fingerprint"}
    return {name: str(facts[key]) for name, key in names.items() if facts.get(key)}


def of_reader(folder: Path) -> dict[str, str]:
    """Of the tokenizer or the image processor that a run keeps in its folder."""
    paths = [folder / name for name in _READER if (folder / name).is_file()]
    return {"reader": hash_of(part for path in paths for part in (path.name, path))}


def check_unchanged(before: Mapping[str, str], now: Mapping[str, str], out: Path) -> None:
    """Compare what is known at both times.

    Args:
        before: when the run began.
        now: at this moment; a part of it is enough.
        out: the folder of the run, for the message.

    Raises:
        UserError: something is not as it was; the message names it.
    """
    changed = [name for name in now if name in before and before[name] != now[name]]
    changed += [name for name in before if name in ("base_of_base",) and "base" in now and name not in now]
    if changed:
        named = " and ".join(_NAMES[name] for name in changed)
        raise UserError(
            f"The run in {out} can not be resumed exactly. Since it began, {named} have changed. Restore them, or "
            "begin a new run."
        )


def _model_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"The base checkpoint {folder} does not exist any more. Restore it, or begin a new run.")
    paths = sorted(path for path in folder.iterdir() if path.suffix in _OF_A_MODEL and path.is_file())
    return [path for path in paths if path.name not in _NOT_READ]


def _stat(path: Path) -> tuple[Path, int, int, int]:
    found = path.stat()
    return path, found.st_size, found.st_mtime_ns, found.st_ino


@lru_cache(maxsize=64)
def _of_files(files: tuple[tuple[Path, int, int, int], ...]) -> str:
    return hash_of(part for path, *_ in files for part in (path.name, path))
