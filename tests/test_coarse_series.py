"""Concentration series: an ideal gas exactly, the shipped model beside the HNC theory."""

from __future__ import annotations

import numpy as np
import pytest

from bjerrum.coarse.basis import Basis
from bjerrum.coarse.dilution import write_pmf_csv
from bjerrum.coarse.model import load_coarse
from bjerrum.coarse.potential import CoarsePotential
from bjerrum.coarse.series import ESTIMATOR, STRUCTURE_FACTOR, box_at, concentration_series
from bjerrum.coarse.simulate import simulate_ions
from bjerrum.coarse.systems import EQUILIBRATION_PS, IonBox, Sampling
from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.thermodynamics.hnc import solve_hnc
from bjerrum.thermodynamics.ions import ions_from_table
from bjerrum.thermodynamics.structure import inverse_compressibility, osmotic_coefficient
from bjerrum.thermodynamics.table import read_pmf_table
from bjerrum.units import MOL_PER_LITRE_IN_PER_ANGSTROM3, bjerrum_length, thermal_energy

TEMPERATURE = 300.0
EV_PER_ANGSTROM3_IN_MPA = 160217.66


def test_ions_without_interaction_are_an_ideal_gas():
    """d ln a/d ln c = 1 from g(r) and from S(k); the osmotic pressure is rho k_B T."""
    basis = Basis(elements=("Cl", "Na"), pair_start=(0.01,) * 3, spacing=0.5, n_radial=0)
    # Charges that cancel all but exactly: the model still knows cation and anion.
    baseline = ScreenedCoulomb.of({"Na": 1e-6, "Cl": -1e-6}, 72.0)
    free = CoarsePotential(basis, np.zeros(basis.n_pair), baseline)
    sampling = Sampling(temperature=TEMPERATURE, time_ps=50, equilibration_ps=5, replicas=10)
    (point,) = concentration_series(free, [2.0], sampling)
    assert set(point.dlna_dlnc) == {ESTIMATOR, STRUCTURE_FACTOR}
    for name, found in point.dlna_dlnc.items():
        assert found.standard_error < 0.1, name
        assert found.value == pytest.approx(1.0, abs=3.5 * found.standard_error), name
    density = 2 * 2.0 * MOL_PER_LITRE_IN_PER_ANGSTROM3
    pressure = density * thermal_energy(TEMPERATURE) * EV_PER_ANGSTROM3_IN_MPA
    assert point.pressure.value == pytest.approx(pressure, rel=1e-6)


def test_the_series_of_the_shipped_model_is_that_of_the_hnc_theory(tmp_path):
    """Pairs alone at moderate coupling: HNC is within a few per cent of the exact answer."""
    model = load_coarse("licl-cg")
    temperature = model.card.temperature_K
    table = write_pmf_csv(model.potential, tmp_path / "pmf.csv", temperature=temperature)
    length = bjerrum_length(model.baseline.dielectric_constant, temperature)
    ions = ions_from_table(read_pmf_table(table), (1.0, -1.0), length)
    sampling = Sampling(temperature=temperature, time_ps=60, replicas=6)
    molarities = (0.5, 2.0)
    points = concentration_series(model.potential, molarities, sampling)
    for molarity, point in zip(molarities, points, strict=True):
        theory = solve_hnc(ions, molarity)
        derivative = inverse_compressibility(theory)
        for name, found in point.dlna_dlnc.items():
            allowed = 3.5 * found.standard_error + 0.03
            assert found.value == pytest.approx(derivative, abs=allowed), (molarity, name)
        ideal = 2 * molarity * MOL_PER_LITRE_IN_PER_ANGSTROM3 * thermal_energy(temperature)
        pressure = osmotic_coefficient(theory) * ideal * EV_PER_ANGSTROM3_IN_MPA
        assert point.pressure.value == pytest.approx(pressure, rel=0.03)


def together(box: IonBox, random: np.random.Generator) -> np.ndarray:
    """Every cation beside an anion, the pairs on a lattice."""
    side = int(np.ceil(box.n_cations ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    centres = (grid[random.permutation(len(grid))[: box.n_cations]] + 0.5) * box.edge / side
    apart = random.normal(size=(box.n_cations, 3))
    apart *= 1.4 / np.linalg.norm(apart, axis=1)[:, None]
    return np.concatenate([centres + apart, centres - apart])


def apart(box: IonBox) -> np.ndarray:
    """Cations and anions on two lattices that are as far from each other as can be."""
    side = int(np.ceil(box.n_cations ** (1 / 3)))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), -1).reshape(-1, 3)
    sites = grid[: box.n_cations] * box.edge / side
    return np.concatenate([sites, sites + box.edge / side / 2])


def test_equilibration_forgets_whether_ions_began_in_contact():
    """A contact 4 kT deep behind a barrier of 3 kT, as of Na-Cl in water."""
    basis = Basis(elements=("Cl", "Na"), pair_start=(3.4, 2.6, 3.2), spacing=0.5, n_radial=0)
    coefficients = np.zeros(basis.n_pair)
    kt = thermal_energy(TEMPERATURE)
    part = basis.pair_slices[basis.pairs.index(("Cl", "Na"))]
    coefficients[part][:5] = np.array([-1.0, -1.0, 0.0, 3.5, 1.5]) * kt
    potential = CoarsePotential(basis, coefficients, ScreenedCoulomb.of({"Na": 1, "Cl": -1}, 72.0))
    box, random = box_at(2.5, 24, ("Na", "Cl")), np.random.default_rng(1)

    def contacts(start: np.ndarray, wait: float) -> np.ndarray:
        sampling = Sampling(
            temperature=TEMPERATURE, time_ps=10, equilibration_ps=wait, replicas=len(start)
        )
        (run,) = simulate_ions(potential, [box], sampling, start=[start])
        near = (run.r > 2) & (run.r < 3.8)
        return run.g()[:, 1, near].sum(axis=1) * (run.r[1] - run.r[0])

    close = np.array([together(box, random) for _ in range(10)])
    far = np.array([apart(box)] * 10)
    early = contacts(close, 0.0).mean() - contacts(far, 0.0).mean()
    ends = [contacts(start, EQUILIBRATION_PS) for start in (close, far)]
    error = np.sqrt(sum(x.var(ddof=1) / len(x) for x in ends))
    late = ends[0].mean() - ends[1].mean()
    assert early > 6 * error
    assert abs(late) < 3.5 * error
