"""The machine: what it is, and whether anything else is using it."""

from __future__ import annotations

import os
import platform
import resource
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

BUSY = 0.05
"""Others may use this share of the processor time; above it a measurement does not count."""
_LIBRARIES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy")
_BF16_FLAGS = ("amx_bf16", "avx512_bf16", "avx_ne_convert", "bf16")  # the last is ARM's


def processor() -> tuple[str, list[str]]:
    """The processor's name, and which bf16 instructions it has."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = set(value.split())
    except OSError:  # not Linux
        pass
    return name, [flag for flag in _BF16_FLAGS if flag in flags]


def description() -> list[str]:
    """Lines of Markdown that say what the figures were measured on."""
    name, bf16 = processor()
    units = f"bf16 units ({', '.join(bf16)})" if bf16 else "no bf16 units that the system tells of"
    versions = ", ".join(f"{library} {_version(library)}" for library in _LIBRARIES)
    load = f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else "unknown"
    return [
        f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, patchword {_version('patchword')}",
        f"- {name}, {cores()} cores, {units}, {psutil.virtual_memory().total / 1e9:.0f} GB of memory",
        f"- {platform.system()}, Python {platform.python_version()}, {versions}",
        f"- load (1 minute) when the benchmarks began: {load}",
    ]


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


@dataclass(frozen=True)
class Meter:
    """Processor time used by all, and by this process and the children that it has waited for, up to a moment."""

    clock: float
    everyone: float
    ours: float

    @classmethod
    def read(cls) -> Meter:
        """Now."""
        times = psutil.cpu_times()._asdict()
        # A guest's time is in "user" already; time stolen by other virtual machines is theirs to us.
        idle = sum(times.get(name, 0.0) for name in ("idle", "iowait", "guest", "guest_nice"))
        used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return cls(time.perf_counter(), sum(times.values()) - idle, sum(u.ru_utime + u.ru_stime for u in used))

    def others(self) -> float:
        """Share of all processor time since then that went to other processes, 0 to 1."""
        now = Meter.read()
        available = max(now.clock - self.clock, 1e-3) * (os.cpu_count() or 1)
        return min(max(now.everyone - self.everyone - (now.ours - self.ours), 0.0) / available, 1.0)


def others_now(seconds: float = 1.0) -> float:
    """Share of all processor time that other processes use while this one sleeps."""
    meter = Meter.read()
    time.sleep(seconds)
    return meter.others()


def peak_memory() -> int:
    """Bytes of memory that this process has held at most.

    Linux' own `VmHWM`, where there is one: `ru_maxrss` of a process that was just started begins with what its
    parent held.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024
