"""Keep freed memory for the next force call instead of handing it back to the kernel."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 1 << 30
_LARGEST_TOP = (1 << 31) - 1


def reuse_freed_memory() -> bool:
    """Tell glibc to serve blocks up to 1 GiB from memory that it keeps; see mallopt(3).

    A network allocates the same hundred blocks of some megabytes in every force call. By default
    glibc maps and unmaps each, and the kernel clears every page again: a quarter of a force call
    of 248 atoms. Peak memory does not change. Returns False where there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK) and mallopt(_M_TRIM_THRESHOLD, _LARGEST_TOP)
    )
