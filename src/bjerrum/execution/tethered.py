"""Run a program that ends when whoever started it does, even after ``kill -9``.

    python -m bjerrum.execution.tethered PROGRAM ARGUMENTS...

For helpers of libraries that do not look after themselves: Parsl's interchange outlives a killed
driver. Linux keeps the signal across the exec of a program (prctl(2), PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel for SIGKILL at the parent's end, then become the program."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended meanwhile
        sys.exit(1)
    os.execv(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
