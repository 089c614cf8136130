"""An Estimate is finite and knows its error, or does not exist."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from bjerrum.estimate import Estimate, Evaluation


def estimate(**changes) -> Estimate:
    given = {"value": 1.968, "standard_error": 0.002, "unit": "angstrom", "n_effective": 48.0}
    return Estimate(**{**given, **changes})


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["value", "standard_error", "n_effective"])
def test_no_estimate_without_numbers(field, bad):
    with pytest.raises(ValueError, match=r"finite|negative"):
        estimate(**{field: bad})


def test_no_negative_error():
    with pytest.raises(ValueError, match=r"must not be negative, got -0\.1"):
        estimate(standard_error=-0.1)


@pytest.mark.parametrize("bad", [0.0, -3.0])
def test_no_estimate_without_samples(bad):
    with pytest.raises(ValueError, match="n_effective must be positive"):
        estimate(n_effective=bad)


def test_an_exact_value_may_have_no_error():
    assert estimate(standard_error=0.0).standard_error == 0.0


def test_json_has_the_keys_of_the_contract_and_plain_numbers():
    given = estimate(value=np.float32(1.5), n_effective=np.int64(7))
    assert json.loads(json.dumps(given.to_json())) == {
        "value": 1.5,
        "standard_error": 0.002,
        "unit": "angstrom",
        "n_effective": 7.0,
    }


def test_json_carries_a_copy_of_the_provenance():
    given = estimate(provenance={"method": "blocks"})
    given.to_json()["provenance"]["method"] = "changed"
    assert given.to_json()["provenance"] == {"method": "blocks"}


def test_provenance_is_no_part_of_equality():
    assert estimate(provenance={"method": "blocks"}) == estimate()
    assert hash(estimate(provenance={"method": "blocks"})) == hash(estimate())
    assert estimate() != estimate(value=1.967)


def test_an_estimate_cannot_be_changed():
    with pytest.raises(AttributeError):
        estimate().value = 2.0  # type: ignore[misc]


def test_text():
    assert str(estimate()) == "1.968 +- 0.002 angstrom"
    assert str(estimate(value=4.18, standard_error=0.03, unit="1")) == "4.18 +- 0.03"


def test_evaluation_has_no_terms_unless_given():
    assert Evaluation(0.0, np.zeros((1, 3))).terms == {}
