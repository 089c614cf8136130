"""Errors come whole from worker processes, and each is the matching builtin."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from bjerrum import errors
from bjerrum.errors import BjerrumError, ExternalError, SeriesTooShort

EXAMPLES = [
    SeriesTooShort("too short", n_effective=1.5),
    ExternalError("failed"),
    ExternalError("failed", log=Path("/tmp/x.log")),
    *(
        kind("what came")
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, BjerrumError)
        and kind not in (SeriesTooShort, ExternalError)
    ),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_survives_the_way_between_processes(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
    assert copy.exit_code == error.exit_code


def test_every_error_is_among_the_examples():
    kinds = {
        k for k in vars(errors).values() if isinstance(k, type) and k.__module__ == "bjerrum.errors"
    }
    assert kinds == {type(error) for error in EXAMPLES}


@pytest.mark.parametrize(
    ("kind", "builtin", "exit_code"),
    [
        (errors.InputError, ValueError, 2),
        (errors.FrameError, errors.InputError, 2),
        (errors.ModelError, errors.InputError, 2),
        (errors.SeriesTooShort, errors.InputError, 2),
        (errors.LockedError, errors.InputError, 2),
        (errors.PhysicsCheckFailed, ArithmeticError, 3),
        (errors.ExternalError, OSError, 4),
    ],
)
def test_kind_and_exit_code(kind, builtin, exit_code):
    assert issubclass(kind, builtin)
    assert issubclass(kind, BjerrumError)
    assert kind.exit_code == exit_code


def test_the_log_is_named():
    error = ExternalError("cp2k failed", log=Path("/tmp/cp2k.out"))
    assert str(error) == "cp2k failed (log: /tmp/cp2k.out)"
    assert error.log == Path("/tmp/cp2k.out")
