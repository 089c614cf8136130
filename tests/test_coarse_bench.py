"""``bench cg``: what its numbers are made of."""

from __future__ import annotations

import math

import pytest

from bjerrum.bench.cg import bench_cg
from bjerrum.coarse.model import load_coarse
from bjerrum.potential.fused.compiler import NoCompiler, find_compiler


def test_the_ratio_is_the_product_of_its_levers():
    try:
        find_compiler()
    except NoCompiler:
        pytest.skip("no C++ compiler")
    found = bench_cg(
        load_coarse("licl-cg"),
        timestep_fs=15.0,
        steps=800,
        calls=5,
        with_series=False,
        announce=lambda stage, done, total: None,
        error_ps=0.6,
    )
    details = found["details"]
    levers = {k: v for k, v in details["levers"].items() if "replicas" not in k}
    assert len(levers) == 4
    assert math.prod(levers.values()) == pytest.approx(found["ratio"], rel=1e-6)
    hours = details["error_of_g"]["cpu_hours_published"] / details["error_of_g"]["cpu_hours_ours"]
    assert hours == pytest.approx(found["ratio"], rel=1e-6)
    assert levers["longer steps"] == 30
    assert levers["compiled network"] > 2
    assert found["ratio"] > 100
