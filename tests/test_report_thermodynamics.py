"""The report's part on osmotic and activity coefficients: stored numbers, drawn as they are."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from bjerrum.errors import InputError
from bjerrum.report.thermodynamics import (
    legend,
    thermodynamics_figures,
    write_thermodynamics_page,
)
from bjerrum.report.thermodynamics_part import Thermodynamics
from bjerrum.thermodynamics.curves import solution_curves
from bjerrum.thermodynamics.published import published_pmf
from bjerrum.thermodynamics.series import solve_series
from bjerrum.thermodynamics.solution import solution_point


@pytest.fixture(scope="module")
def curves() -> dict[str, Any]:
    ions = published_pmf("LiCl").ions()
    points = [solution_point(p, "LiCl", 300.0) for p in solve_series(ions, [0.5, 1.0, 2.0], "hnc")]
    return solution_curves(
        ions,
        {"hnc": points},
        salt="LiCl",
        temperature=300.0,
        pmf_source="a <table>",
        pmf_doi=None,
        notes=["A note."],
        names=("Li", "Cl"),
    )


def drawn(values: Any) -> np.ndarray:
    if isinstance(values, list):
        return np.asarray(values, dtype=float)
    return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"])


def test_figures_show_the_stored_numbers(curves):
    part = Thermodynamics.model_validate(curves)
    figures = thermodynamics_figures(part)
    assert len(figures) == 6
    traces = json.loads(figures[0].plotly_json)["data"]
    band, line, experiment = traces
    main = curves["panels"][0]["curves"][0]
    assert drawn(line["y"]) == pytest.approx(main["value"])
    half = np.asarray(main["band"])
    assert drawn(band["y"])[:3] == pytest.approx(np.asarray(main["value"]) + half)
    assert drawn(experiment["y"]) == pytest.approx(curves["panels"][0]["curves"][1]["value"])
    potential = json.loads(figures[4].plotly_json)["data"]
    assert potential[0]["name"].startswith("core")
    assert drawn(potential[0]["x"]).max() == curves["potentials"][1]["core_angstrom"]
    assert [words for _, _, words in legend(part)] == ["HNC", "experiment, 25 C"]


def test_a_page_of_its_own_needs_no_network_and_is_escaped(curves, tmp_path):
    page = write_thermodynamics_page(curves, tmp_path / "page.html").read_text()
    assert "a <table>" not in page
    assert 'src="http' not in page


def test_a_page_of_a_mixture_has_three_columns(curves, tmp_path):
    """Six pairs in one row had titles that ran into each other."""
    pairs = [{**curves["potentials"][0], "pair": f"A-{name}"} for name in "BCDEFG"]
    found = {**curves, "potentials": pairs, "pmf_source": "a long source " * 20}
    page = write_thermodynamics_page(found, tmp_path / "page.html").read_text()
    assert '"xaxis9"' in page
    assert '"xaxis10"' not in page
    assert "\\u003cbr\\u003e" in page


def test_unusable_curves_are_refused(curves, tmp_path):
    broken = {**curves, "panels": [{**curves["panels"][0], "curves": []}]}
    with pytest.raises(InputError, match="no figure"):
        write_thermodynamics_page(broken, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
