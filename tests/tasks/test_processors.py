"""Threads in a container: as many as its share of the processors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from patchword.tasks import processors
from patchword.tasks.processors import keep_to_share, processor_share
from patchword.tasks.task import choose_device


@pytest.fixture
def threads() -> Iterator[int]:
    """Two, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    keep_to_share.cache_clear()
    yield 2
    torch.set_num_threads(before)
    keep_to_share.cache_clear()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("said", "share"), [("200000 100000\n", 2.0), ("50000 100000", 0.5), ("max 100000", None), ("", None), ("x", None)]
)
def test_version_2(said: str, share: float | None, tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/\n")
    write(tmp_path / "sys/fs/cgroup/cpu.max", said)
    assert processor_share(tmp_path) == share


@pytest.mark.parametrize(("quota", "share"), [("350000", 3.5), ("-1", None)])
def test_version_1(quota: str, share: float | None, tmp_path: Path) -> None:
    """The path is the host's, of which a container sees only the root."""
    write(tmp_path / "proc/self/cgroup", "9:name=systemd:/\n4:cpu,cpuacct:/docker/3f0c\n3:cpuset:/docker/3f0c\n")
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_quota_us", quota)
    write(tmp_path / "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
    assert processor_share(tmp_path) == share


def test_the_least_of_a_group_and_those_around_it_counts(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/pod/box\n")
    write(tmp_path / "sys/fs/cgroup/pod/cpu.max", "150000 100000")
    write(tmp_path / "sys/fs/cgroup/pod/box/cpu.max", "400000 100000")
    assert processor_share(tmp_path) == 1.5


def test_no_control_groups(tmp_path: Path) -> None:
    assert processor_share(tmp_path) is None


@pytest.mark.parametrize(("share", "found"), [(1.9, 1), (0.5, 1), (64.0, 2), (None, 2)])
def test_a_device_is_chosen_with_so_many_threads(
    share: float | None, found: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "processor_share", lambda: share)
    for name in processors._SAID:
        monkeypatch.delenv(name, raising=False)
    choose_device("cpu")
    assert torch.get_num_threads() == found
    torch.set_num_threads(threads)  # what is said afterwards stays
    choose_device("cpu")
    assert torch.get_num_threads() == threads


def test_who_says_how_many_is_heeded(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "processor_share", lambda: 1.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    choose_device("cpu")
    assert torch.get_num_threads() == threads
