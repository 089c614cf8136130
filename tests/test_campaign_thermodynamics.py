"""Ions alone and activities as steps of campaigns: forces, graph, limiting law, refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bjerrum.boxes import build_box
from bjerrum.campaign.forces import ClassicalForces
from bjerrum.campaign.opening import open_campaign
from bjerrum.campaign.thermodynamics import MODEL, solve_salt
from bjerrum.coarse.model import load_coarse, save_coarse
from bjerrum.errors import InputError
from bjerrum.reference.classical import ClassicalReference
from bjerrum.reference.classical_force_fields import SPCE_JOUNG_CHEATHAM, ClassicalSettings
from bjerrum.system import Salt, Solution
from bjerrum.thermodynamics.primitive import limiting_slope
from bjerrum.units import MOL_PER_LITRE_IN_PER_ANGSTROM3, bjerrum_length
from test_campaign import MINI, PROFILE

LAST = MINI.replace("[2.0]", "[2.5, 5.0]") + "\n[coarsening]\n"


def opened(folder, text=LAST):
    (folder / "profile.toml").write_text(PROFILE)
    path = folder / "mini.toml"
    path.write_text(text)
    return open_campaign(path, folder / "out")


def test_forces_are_those_of_the_labels():
    """Single precision against double: a packed box, forces of up to tens of eV/angstrom."""
    box = build_box(Solution(Salt.parse("LiCl"), 2.5, 298.15), 48, seed=3)
    force = ClassicalForces(ClassicalSettings().force_field).bind(
        box.get_chemical_symbols(), box.cell.array
    )
    energy, expected = ClassicalReference(SPCE_JOUNG_CHEATHAM).energy_and_forces(box)
    found = force(box.positions)
    scale = float(np.sqrt(np.mean(expected**2)))
    assert np.abs(found.forces - expected).max() < 3e-3 * scale
    assert found.energy == pytest.approx(energy, abs=0.05)
    wrapped = box.copy()
    wrapped.wrap()
    assert force(wrapped.positions).forces == pytest.approx(found.forces, abs=1e-3 * scale)


def test_a_salts_solutions_end_in_one_model_of_its_ions(tmp_path):
    graph = opened(tmp_path).campaign.graph
    ions = [node for node in graph if node.kind.name == "coarsen_salt"]
    solve = [node for node in graph if node.kind.name == "solve_salt"]
    assert [node.title for node in ions] == ["LiCl, 298.15 K", "KCl, 298.15 K"]
    assert [list(node.needs.values()) for node in solve] == [[node] for node in ions]
    for node in ions:
        assert {need.kind.name for need in node.needs.values()} == {"simulate_classical"}
        assert len(node.needs) == 2
    spec = ions[0].step.parameters["spec"]
    edge = min(Solution(Salt.parse("LiCl"), m, 298.15).box_edge(48) for m in (2.5, 5.0))
    assert edge / 2 - 0.2 < spec["pair_cutoff_angstrom"] < edge / 2


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ('theory = "mpb"', {"solve_salt"}),
        ("iterations = 2", {"coarsen_salt", "solve_salt"}),
        ("dielectric_constant = 70.0", {"coarsen_salt", "solve_salt"}),
    ],
)
def test_a_changed_setting_changes_what_depends_on_it(tmp_path, line, changed):
    before = opened(tmp_path).campaign.graph
    after = opened(tmp_path, f"{LAST}{line}\n").campaign.graph
    assert {node.kind.name for node in after if node.hash not in before.nodes} == changed


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[coarsening]", '[coarsening]\ntheory = "magic"', "unknown theory 'magic'; known: hnc"),
        ("[coarsening]", "[coarsening]\npair_cutoff_angstrom = 9.0", "at most half the box of"),
        ("[coarsening]", "[coarsening]\nwaters = 2", "unknown key 'coarsening.waters'"),
        ("[2.5, 5.0]", "[1.0, 5.0]", "expected 2 or more: like ions never meet"),
        ("[simulation]", "[training]\n[other]", "unknown key 'other'"),
    ],
)
def test_wrong_settings_are_one_line(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message) as caught:
        opened(tmp_path, LAST.replace(old, new))
    assert "\n" not in str(caught.value)


def test_coarsening_needs_trajectories(tmp_path):
    text = LAST.replace(LAST[LAST.index("[simulation]") : LAST.index("[coarsening]")], "")
    with pytest.raises(InputError, match=r"needs \[simulation\]"):
        opened(tmp_path, text)


@pytest.fixture
def shipped(tmp_path):
    """The folder of a step that made ions alone: the shipped model of LiCl with a committee."""
    model = load_coarse("licl-cg")
    mean = model.potential.coefficients
    committee = np.array([factor * mean for factor in (0.99, 1.0, 1.01)])
    save_coarse(replace(model, committee=committee), tmp_path / "ions" / MODEL)
    return tmp_path / "ions"


def test_activities_follow_the_limiting_law_and_have_error_bars(shipped, tmp_path):
    """ln gamma = -A sqrt(c) and phi = 1 - A sqrt(c)/3 at small c (Debye and Hueckel)."""
    out = tmp_path / "solved"
    out.mkdir()
    dilute, strong = 0.0005, 1.5
    parameters = {
        "salt": "LiCl",
        "temperature_K": 298.15,
        "molalities_mol_per_kg": [strong, dilute],
        "theory": "hnc",
    }
    solve_salt(out, parameters, {"ions": shipped})
    entries = json.loads((out / "estimates.json").read_text())
    found = {(e["quantity"], e["molality_mol_per_kg"]): e["estimate"] for e in entries}
    slope = limiting_slope(
        np.array([1.0, -1.0]),
        MOL_PER_LITRE_IN_PER_ANGSTROM3 * np.ones(2),
        bjerrum_length(78.3, 298.15),
    )
    root = np.sqrt(0.997 * dilute)
    assert found["osmotic_coefficient", dilute]["value"] - 1 == pytest.approx(slope * root, rel=0.1)
    ln_gamma = found["ln_activity_coefficient", dilute]["value"]
    assert ln_gamma == pytest.approx(3 * slope * root, rel=0.1)
    assert found["osmotic_coefficient", strong]["standard_error"] > 0
    curves = json.loads((out / "curves.json").read_text())
    assert [curve["subject"] for curve in curves] == ["Li-Li", "Li-Cl", "Cl-Cl"]
    full, short, r = (
        np.array(curves[1]["columns"][key]) for key in ("w_kT", "w_short_range_kT", "r_angstrom")
    )
    assert full[-1] == pytest.approx(-bjerrum_length(78.3, 298.15) / r[-1], rel=0.02)
    assert short[-1] == pytest.approx(0.0, abs=1e-3)


def test_a_theory_without_a_solution_leaves_its_reason(shipped, tmp_path, monkeypatch):
    from bjerrum.thermodynamics import solution
    from bjerrum.thermodynamics.structure import NotConverged

    real, asked = solution.solve_tables, []

    def refuses(tables, make, molarities, theory, **how):
        asked.append(len(molarities))
        if len(molarities) > 1:
            raise NotConverged("no solution there", residual=1.0, concentration=2.0)
        return real(tables, make, molarities, theory, **how)

    monkeypatch.setattr(solution, "solve_tables", refuses)
    out = tmp_path / "solved"
    out.mkdir()
    parameters = {
        "salt": "LiCl",
        "temperature_K": 298.15,
        "molalities_mol_per_kg": [0.5, 2.0],
        "theory": "dhx",
    }
    solve_salt(out, parameters, {"ions": shipped})
    entries = json.loads((out / "estimates.json").read_text())
    assert {entry["molality_mol_per_kg"] for entry in entries} == {0.5}
    reasons = json.loads((out / "reasons.json").read_text())
    assert reasons == {"activities at 2 mol/kg": "no solution there"}
    assert asked == [2, 1]
