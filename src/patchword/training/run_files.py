"""What a run writes into its folder, and how another run takes that place.

Every file that a run writes has a name that `is_own` knows, so that replacing a run deletes these and nothing else. A
replacement is written to a hidden folder inside the run's folder. One rename (`commit`) decides that it counts; what
follows it can be done again and again until it is done (`recover`), so that a kill leaves the old run whole or the new
one to be put in its place by the next command.

    .new          a run in the making, which replaces the one beside it when it has finished
    .replacing    it has finished; the files of the old run are being deleted
    .placing      and are gone; those of the new run are being moved up
    .lock         held by the process that writes
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from patchword.errors import UserError

LOCK, NEW, REPLACING, PLACING = ".lock", ".new", ".replacing", ".placing"
STUDY = "study.db"

_AT_THE_START = (
    r"(run|config|patchword|baselines|tokenizer|tokenizer_config|vocab|preprocessor_config)\.json"
    r"|vocab\.txt|merges\.txt"
)
_OF_A_RUN = (
    rf"{_AT_THE_START}|generation_config\.json|model\.safetensors|README\.md|report\.html|metrics\.jsonl|curves\.png"
    r"|result\.json|out_of_fold\.safetensors|adapter/adapter_config\.json|adapter/adapter_model\.safetensors"
    r"|tensorboard/events\.out\.tfevents\.[^/]+"
    r"|checkpoints/(step-\d{8}(-before)?|\.step-\d{8}\.part)/state\.(json|safetensors)"
    r"|checkpoints/best-\d{8}\.safetensors"
)
_SEED = r"seeds/\d+(-collapsed-\d+)?"
_OWN = re.compile(rf"({_SEED}/)?({_OF_A_RUN})")
_OWN_FOLDERS = re.compile(
    rf"({_SEED}/)?(adapter|tensorboard|checkpoints|checkpoints/(step-\d{{8}}(-before)?|\.step-\d{{8}}\.part))"
    rf"|seeds|{_SEED}"
)
_START = re.compile(_AT_THE_START)
_UNFINISHED = re.compile(r"\.(?P<name>.+)\.([a-z0-9_]{8}|part)")
"""A file while `write_file` or `write_tensors` writes it, which a kill leaves."""


def is_own(name: str) -> bool:
    """Whether a run writes a file of this name.

    Args:
        name: relative to its folder, with slashes.
    """
    folder, _, last = name.rpartition("/")
    unfinished = _UNFINISHED.fullmatch(last)
    names = [name, f"{folder}/{unfinished['name']}".lstrip("/")] if unfinished else [name]
    return any(_OWN.fullmatch(each) for each in names)


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what a run leaves that was killed before it began."""
    for path in folder.iterdir():
        unfinished = _UNFINISHED.fullmatch(path.name)
        if path.name not in (LOCK, NEW) and not (unfinished and is_own(path.name)):
            return False
    return True


def only_start(folder: Path) -> bool:
    """Whether a folder holds nothing but what a run writes before its first step."""
    names = [path.name for path in folder.iterdir() if path.name not in (LOCK, NEW)]
    return all(_START.fullmatch(name) or (_UNFINISHED.fullmatch(name) and is_own(name)) for name in names)


@contextmanager
def alone_in(folder: Path, message: str) -> Iterator[None]:
    """Hold the lock of a folder, which no two processes or threads have at once; a kill releases it.

    Args:
        folder: made if it does not exist; one that was made and is empty in the end does not stay.
        message: what is reported where another one holds the lock.

    Raises:
        UserError: another one holds it, or the folder can not be made.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; --out names a folder.")
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {folder} can not be made: {error.strerror}.") from error
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(message) from None
    try:
        yield
    finally:
        # Removed while it is held: who opened it before gets a lock without a name, which filelock does not take.
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()
        if is_new:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def remove_run(folder: Path) -> None:
    """Delete the files that a run has written, and the folders of a run that are empty then.

    `config.json` goes first: without it the folder is no model folder, whatever else is still there.
    """
    (folder / "config.json").unlink(missing_ok=True)
    for path, name in list(_files(folder)):
        if is_own(name):
            path.unlink(missing_ok=True)
    for parent, _, _ in os.walk(folder, topdown=False):
        name = Path(parent).relative_to(folder).as_posix()
        if _OWN_FOLDERS.fullmatch(name) and not any(Path(parent).iterdir()):
            Path(parent).rmdir()


def remove_new(folder: Path) -> None:
    """Delete a replacement that was not committed."""
    if (folder / NEW).is_dir():
        shutil.rmtree(folder / NEW)


def remove_sweep(folder: Path) -> None:
    """The same for a sweep: its runs, then its study."""
    runs = [*(folder / "trials").glob("[0-9]*"), folder / "best"]
    for run in runs:
        if run.is_dir():
            remove_run(run)
    for path in (*runs, folder / "trials"):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    for name in ("baselines.json", *(f"{STUDY}{ending}" for ending in ("-journal", "-wal", "-shm", ""))):
        (folder / name).unlink(missing_ok=True)


def commit(folder: Path) -> None:
    """Let the run (or the sweep) in `folder/.new` take the place of the one in `folder`."""
    os.replace(folder / NEW, folder / REPLACING)
    recover(folder)


def recover(folder: Path) -> bool:
    """Finish a replacement that has been committed; the lock is held. Returns whether there was one."""
    if not (folder / REPLACING).is_dir() and not (folder / PLACING).is_dir():
        return False
    if (folder / REPLACING).is_dir():
        remove_sweep(folder) if (folder / STUDY).is_file() else remove_run(folder)
        os.replace(folder / REPLACING, folder / PLACING)
    files = sorted(_files(folder / PLACING), key=lambda of: of[1] == "config.json")  # last: a model folder again
    for path, name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, folder / name)
    shutil.rmtree(folder / PLACING)
    return True


def is_being_replaced(folder: Path) -> bool:
    """Whether a replacement was committed, but a kill came before it was done."""
    return (folder / REPLACING).is_dir() or (folder / PLACING).is_dir()


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    """All files in a folder, and their names relative to it. A replacement inside it does not belong to it."""
    for parent, folders, files in os.walk(folder):
        if Path(parent) == folder:
            folders[:] = [name for name in folders if name not in (NEW, REPLACING, PLACING)]
        for name in files:
            path = Path(parent, name)
            yield path, path.relative_to(folder).as_posix()
