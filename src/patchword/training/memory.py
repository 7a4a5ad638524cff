"""Keep freed memory for the next step instead of giving it back to the system and asking again."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # names of settings in glibc's malloc.h


def keep_freed_memory() -> None:
    """Tell glibc's allocator to hold on to what is freed; elsewhere this does nothing.

    A training step frees and asks for the same gigabytes again. By default large blocks go back to the kernel each
    time, and every page of them is zeroed and mapped anew: about a tenth of bert-mini's step on two cores.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, -1)
    mallopt(_TOP_PAD, 256 << 20)
