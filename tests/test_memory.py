"""Freed memory is kept: the second use of a large block costs no page faults."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from bjerrum.memory import reuse_freed_memory

if sys.argv[1] == "reuse":
    assert reuse_freed_memory()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.full(8_000_000, 1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


def page_faults(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_large_blocks_are_used_again():
    pages = 5 * 8_000_000 * 8 // 4096
    assert page_faults("reuse") < pages / 100
    assert page_faults("plain") > pages / 100
