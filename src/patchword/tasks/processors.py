"""How many threads compute: no more than the container's share of the processors.

torch takes a thread for each core that it sees, and a container with `--cpus 2` (a Kubernetes limit) sees all of the
machine's. Those threads wait for each other, and the kernel stops them together (for torch: onyx#12351; 45 times slower
was seen elsewhere, ollama#17916). `joblib.cpu_count` reads the quota too, but rounds up, and sees none that is set on a
service or a user of the machine (only the root of the groups).
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import torch

_SAID = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Who sets one of these has decided."""


@cache
def keep_to_share() -> None:
    """Lower torch's threads to the share; once in a process, so that what is set afterwards stays."""
    share = processor_share()
    if share is not None and not any(name in os.environ for name in _SAID):
        # A thread more than the share has time for is enough to have all of them stopped.
        torch.set_num_threads(min(torch.get_num_threads(), max(1, int(share))))


def processor_share(root: Path = Path("/")) -> float | None:
    """Processors whose time this process may use, by Linux' control groups; None where nothing is limited.

    Args:
        root: of the file system.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    shares = []
    for line in lines:
        number, kinds, path = line.split(":", 2)
        mount = root / "sys/fs/cgroup"
        if number == "0":
            read = _of_version_2
        elif "cpu" in kinds.split(","):
            mount, read = mount / "cpu", _of_version_1
        else:
            continue
        # In a container the path may be the host's, of which only the root is to be seen.
        places = [Path(path.lstrip("/")), *Path(path.lstrip("/")).parents]
        shares += [share for place in places if (share := read(mount / place)) is not None]
    return min(shares, default=None)


def _of_version_2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else int(quota) / int(period)


def _of_version_1(folder: Path) -> float | None:
    try:
        quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 else None
