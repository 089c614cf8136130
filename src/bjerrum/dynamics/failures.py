"""Runs that fail beside others that do not: all are told together, when the others are done."""

from __future__ import annotations

from pathlib import Path

from bjerrum.errors import BjerrumError, ExternalError, InputError, PhysicsCheckFailed


def together(failures: list[tuple[Path, BjerrumError]], n_runs: int) -> BjerrumError:
    """Return one error for those of several runs: folders and reasons.

    It is a PhysicsCheckFailed if one of them is, else an InputError or ExternalError as the first.
    """
    errors = [error for _, error in failures]
    if n_runs == 1:
        return errors[0]
    listed = "; ".join(f"{folder}: {error}" for folder, error in failures)
    rest = n_runs - len(failures)
    after = f"; the other {rest} went on to their ends" if rest else ""
    message = f"{len(failures)} of {n_runs} runs failed: {listed}{after}"
    if any(isinstance(error, PhysicsCheckFailed) for error in errors):
        return PhysicsCheckFailed(message)
    return (InputError if isinstance(errors[0], InputError) else ExternalError)(message)
