"""A run's folder: nothing of a user's is deleted, one process writes, a kill leaves the old run or the new one."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import patchword as pw
from patchword.errors import UserError
from patchword.training import run_files
from patchword.training.loop import Interrupted
from patchword.training.run import RunFolder
from patchword.training.run_files import alone_in, commit, is_own, recover

FEW: dict[str, Any] = {"seeds": 1, "steps": 2, "quiet": True, "precision": "fp32", "device": "cpu"}


def images(folder: Path, seed: int = 0) -> Path:
    for label, channel in (("cats", 0), ("dogs", 2)):
        (folder / label).mkdir(parents=True)
        for i in range(6):
            pixels = np.random.default_rng(100 * seed + 10 * channel + i).integers(0, 90, (16, 16, 3))
            pixels[:8, :, channel] += 120
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{i}.png")
    return folder


def contents(folder: Path) -> dict[str, str]:
    """All files and what is in them; the lock and a replacement in the making do not count."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] not in (".new", ".lock")
    }


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="module")
def base(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("base") / "base"
    pw.pretrain(photos, model="patchword-image-tiny", image_size=16, patch_size=8, steps=1, out=out, quiet=True)
    return out


@pytest.fixture(scope="module")
def made(base: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "mine"
    pw.finetune(base, photos, out=out, **FEW | {"seeds": 2, "tune": "lora"})
    (out / "notes.txt").write_text("mine")
    (out / "checkpoints").mkdir(exist_ok=True)
    (out / "checkpoints" / "mine.safetensors").write_text("mine")
    return out


@pytest.fixture
def finished(made: Path, tmp_path: Path) -> Path:
    """A run of two seeds with an adapter, and files of the user's."""
    return Path(shutil.copytree(made, tmp_path / "mine"))


FOREIGN = {"notes.txt", "checkpoints/mine.safetensors"}


def test_every_file_of_a_run_is_known_as_its_own(finished: Path, base: Path) -> None:
    for folder in (finished, base):
        names = set(contents(folder)) - FOREIGN
        assert {"run.json", "patchword.json", "model.safetensors", "README.md", "metrics.jsonl"} <= names | {
            Path(name).name for name in names
        }
        assert [name for name in names if not is_own(name)] == []
    for name in (*FOREIGN, "photos/1.png", "best/model.safetensors", ".hidden", "seeds/mine/model.safetensors"):
        assert not is_own(name)
    assert is_own(".run.json.abcd1234")
    assert is_own("checkpoints/.best-00000003.safetensors.part")


def test_a_replacement_comes_when_it_is_finished_and_keeps_what_is_the_users(
    finished: Path, base: Path, photos: Path, tmp_path: Path
) -> None:
    before = contents(finished)
    broken = images(tmp_path / "broken")
    (broken / "cats" / "3.png").write_text("broken")
    with pytest.raises(UserError):
        pw.finetune(base, broken, out=finished, overwrite=True, **FEW)
    assert contents(finished) == before
    with pytest.raises(Interrupted, match=r"Step 1 is saved.*resume.*earlier run .* is unchanged"):
        pw.finetune(base, photos, out=finished, overwrite=True, stop_after=1, **FEW)
    assert contents(finished) == before
    pw.resume(finished, quiet=True)
    after = contents(finished)
    assert {name: after[name] for name in FOREIGN} == {name: before[name] for name in FOREIGN}
    assert [name for name in after if name.startswith(("seeds", "adapter"))] == []  # the new run has neither
    pw.finetune(base, photos, out=tmp_path / "alone", **FEW)
    assert after["model.safetensors"] == contents(tmp_path / "alone")["model.safetensors"]
    assert not (finished / ".new").exists()
    assert not (finished / ".lock").exists()


def test_a_run_that_fails_before_it_began_leaves_nothing(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        pw.finetune(base, tmp_path / "absent", out=tmp_path / "out", **FEW)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("inside", ["base", "data", "validation", "test"])
def test_inputs_inside_the_output_are_refused(inside: str, base: Path, photos: Path, finished: Path) -> None:
    theirs = images(finished / "photos", 3)
    before = contents(finished)
    start = finished if inside == "base" else base
    more: dict[str, Any] = {inside: theirs} if inside in ("validation", "test") else {}
    with pytest.raises(UserError, match=r"input of this command.*another --out"):
        pw.finetune(start, theirs if inside == "data" else photos, out=finished, overwrite=True, **FEW | more)
    assert contents(finished) == before


def test_an_output_inside_the_data_is_refused(base: Path, tmp_path: Path) -> None:
    theirs = images(tmp_path / "photos")
    with pytest.raises(UserError, match="would read its files as data"):
        pw.finetune(base, theirs, out=theirs / "run", **FEW)
    assert not (theirs / "run").exists()


# ------------------------------------------------------------------------------------------------ kills


@pytest.fixture
def old_and_new(tmp_path: Path) -> tuple[Path, dict[str, str], dict[str, str]]:
    """Two runs made of small files: one in its place with a file of the user's, and one that is to replace it."""
    old, new = tmp_path / "run", tmp_path / "run" / ".new"
    for folder, text in ((old, "old"), (new, "new")):
        for name in ("run.json", "patchword.json", "config.json", "README.md", "tensorboard/events.out.tfevents.1"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    (new / "checkpoints/step-00000001").mkdir(parents=True)
    (new / "checkpoints/step-00000001/state.json").write_text("new")
    (old / "seeds/0").mkdir(parents=True)
    (old / "seeds/0/result.json").write_text("old")
    (old / "notes.txt").write_text("mine")
    before = contents(old)
    return old, before, contents(new) | {"notes.txt": before["notes.txt"]}


class Kill(BaseException):
    pass


def steps_of(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Raise instead of the system call of this number that changes something on the disk."""
    calls: list[int] = []
    for name in ("replace", "rename", "unlink", "rmdir", "mkdir"):
        real = getattr(os, name)

        def watched(*args: Any, real: Any = real, **options: Any) -> Any:
            calls.append(1)
            if len(calls) == number:
                raise Kill
            return real(*args, **options)

        monkeypatch.setattr(os, name, watched)
    return calls


def test_a_kill_at_any_step_of_a_replacement_leaves_one_of_both(
    old_and_new: tuple[Path, dict[str, str], dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, before, after = old_and_new
    shutil.copytree(folder, tmp_path / "kept")
    for number in range(1, 100):
        shutil.rmtree(folder)
        shutil.copytree(tmp_path / "kept", folder)
        with monkeypatch.context() as patch:
            steps_of(patch, number)
            try:
                commit(folder)
                break
            except Kill:
                pass
        if number == 1:  # the one rename that decides
            assert not recover(folder)
            assert contents(folder) == before
            continue
        with pytest.raises(UserError, match="completes the replacement"):
            RunFolder.open(folder)
        with monkeypatch.context() as patch:  # and a second kill while it is made good
            steps_of(patch, 2)
            with suppress(Kill):
                recover(folder)
        recover(folder)
        assert contents(folder) == after
    assert number > 10
    assert contents(folder) == after


@pytest.mark.parametrize("left", [".run.json.abcd1234", ".lock", ".new/run.json", ".new/.run.json.abcd1234"])
def test_what_a_kill_leaves_before_a_run_began_is_in_nobodys_way(
    left: str, base: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "o" / left).parent.mkdir(parents=True)
    (tmp_path / "o" / left).touch()
    with pytest.raises(UserError, match="run"):
        pw.resume(tmp_path / "o")
    pw.finetune(base, photos, out=tmp_path / "o", **FEW)
    assert sorted(path.name for path in (tmp_path / "o").iterdir() if path.name.startswith(".")) == []


# ------------------------------------------------------------------------------------------------ the lock


def hold(folder: Path, held: Any, release: Any) -> None:
    with alone_in(folder, "busy"):
        held.set()
        release.wait(60)


@pytest.fixture
def held(finished: Path) -> Iterator[Path]:
    """Another process writes into the folder."""
    context = multiprocessing.get_context("fork")
    ready, release = context.Event(), context.Event()
    process = context.Process(target=hold, args=(finished, ready, release))
    process.start()
    ready.wait(60)
    yield finished
    release.set()
    process.join()


def test_a_second_process_changes_nothing(held: Path, base: Path, photos: Path) -> None:
    before = contents(held)
    for call in (
        lambda: pw.finetune(base, photos, out=held, overwrite=True, **FEW),
        lambda: pw.finetune(base, photos, out=held, **FEW),
        lambda: pw.resume(held),
    ):
        with pytest.raises(UserError, match="Another process is writing"):
            call()
    assert contents(held) == before
    assert not (held / ".new").exists()


def test_two_threads_are_two_writers_and_a_kill_frees_the_lock(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, release = context.Event(), context.Event()
    process = context.Process(target=hold, args=(tmp_path / "run", ready, release))
    process.start()
    ready.wait(60)
    process.kill()
    process.join()
    assert (tmp_path / "run" / ".lock").exists()
    seen: list[str] = []

    def other() -> None:
        try:
            with alone_in(tmp_path / "run", "busy"):
                seen.append("in")
        except UserError as error:
            seen.append(str(error))

    with alone_in(tmp_path / "run", "busy"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    other()
    assert seen == ["busy", "in"]
    assert not (tmp_path / "run" / run_files.LOCK).exists()
