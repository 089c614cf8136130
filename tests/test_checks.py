"""The trust gate's arithmetic: a figure within its limit passes, anything else fails."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from bjerrum.checks import Check, require
from bjerrum.errors import PhysicsCheckFailed


def check(value, limit=1.0) -> Check:
    return Check("net force", value, limit, "meV/angstrom", "forces sum to zero")


@pytest.mark.parametrize("value", [0.0, 0.999, 1.0, np.float32(0.5)])
def test_within_the_limit(value):
    assert check(value).passed is True
    require([check(value)])


@pytest.mark.parametrize("value", [1.0001, -0.5, math.nan, math.inf, -math.inf])
def test_beyond_the_limit(value):
    assert check(value).passed is False
    with pytest.raises(PhysicsCheckFailed) as caught:
        require([check(0.0), check(value)])
    assert caught.value.exit_code == 3


def test_the_error_names_every_failed_check():
    checks = [
        check(2.5),
        Check("rotation", 0.1, 0.5, "meV/angstrom", ""),
        Check("extensivity", 0.3, 0.01, "meV/atom", ""),
    ]
    with pytest.raises(PhysicsCheckFailed) as caught:
        require(checks)
    assert str(caught.value) == (
        "trust gate: net force 2.5 meV/angstrom (limit 1); extensivity 0.3 meV/atom (limit 0.01); "
        "these results must not be used"
    )


def test_no_checks_are_no_failure():
    require([])


@pytest.mark.parametrize("limit", [math.nan, math.inf, -1.0])
def test_a_limit_must_limit(limit):
    with pytest.raises(ValueError, match="check 'net force': expected a limit"):
        check(0.0, limit)


@pytest.mark.parametrize(("value", "written"), [(0.25, 0.25), (math.nan, None), (math.inf, None)])
def test_json(value, written):
    data = json.loads(json.dumps(check(value).to_json(), allow_nan=False))
    assert data == {
        "name": "net force",
        "value": written,
        "limit": 1.0,
        "unit": "meV/angstrom",
        "explanation": "forces sum to zero",
        "passed": written is not None,
    }
