"""Everything that Bjerrum raises on purpose.

One base class; each failure also is the matching builtin, carries the sentence that a person
should read (what was expected, what came, what to do) and the exit code of the command line:
2 the input is wrong, 3 a physical check failed, 4 an external program failed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path


class BjerrumError(Exception):
    """Base of all errors that Bjerrum raises on purpose; ``str(error)`` is one clear line."""

    exit_code = 1


class InputError(BjerrumError, ValueError):
    """The user's input is wrong: a value, a file, a key, a combination."""

    exit_code = 2


class FrameError(InputError):
    """A structure file or one of its frames cannot be used (truncated, NaN, no cell, overlap)."""


class ModelError(InputError):
    """A model folder cannot be used for what was asked (element, baseline, damaged files)."""


class SeriesTooShort(InputError):
    """A time series is too short for an honest error bar.

    ``n_effective`` is the estimated number of independent samples.
    """

    def __init__(self, message: str, *, n_effective: float) -> None:
        super().__init__(message)
        self.n_effective = n_effective

    def __reduce__(self) -> tuple[Callable[[str], SeriesTooShort], tuple[str]]:
        """Come whole from a worker process to its caller, the keyword argument too."""
        return partial(type(self), n_effective=self.n_effective), (str(self),)


class LockedError(InputError):
    """Another live process works in the same folder."""


class PhysicsCheckFailed(BjerrumError, ArithmeticError):
    """A check of the physics failed; the run is stopped rather than reported."""

    exit_code = 3


class ExternalError(BjerrumError, OSError):
    """Something outside Bjerrum failed: a program, the disk; ``log`` names its output."""

    exit_code = 4

    def __init__(self, message: str, *, log: Path | None = None) -> None:
        super().__init__(message if log is None else f"{message} (log: {log})")
        self.log = log


class Interrupted(BjerrumError):
    """The user stopped the work; what is finished is kept."""

    exit_code = 130
