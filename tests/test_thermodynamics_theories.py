"""Theories of ions against closed forms, exact sum rules, naive code and published numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.fft import dst
from scipy.integrate import solve_bvp
from scipy.special import erf, erfc

from bjerrum.thermodynamics.grid import RadialGrid, grid_for
from bjerrum.thermodynamics.hnc import solve_hnc
from bjerrum.thermodynamics.inverse import inverse_hnc
from bjerrum.thermodynamics.ions import Ions, ions_from_table
from bjerrum.thermodynamics.modified_poisson_boltzmann import FluctuationTerm, solve_symmetric
from bjerrum.thermodynamics.poisson_boltzmann import (
    central_ion_potential,
    solve_debye_hueckel_exponential,
    solve_poisson_boltzmann,
)
from bjerrum.thermodynamics.primitive import hard_spheres, limiting_law, mean_spherical
from bjerrum.thermodynamics.published import published_pmf
from bjerrum.thermodynamics.reference_fluid import bridge_function, solve_reference
from bjerrum.thermodynamics.series import solve_series
from bjerrum.thermodynamics.structure import (
    NotConverged,
    charge_structure_factor,
    inverse_compressibility,
    mean_log_activity_coefficient,
    osmotic_coefficient,
)
from bjerrum.thermodynamics.table import PmfTable, read_pmf_table
from bjerrum.units import MOL_PER_LITRE_IN_PER_ANGSTROM3

DATA = Path(__file__).parents[2] / "shared" / "data" / "published"
LICL = DATA / "licl_short_range_pmf_coarse_grained.csv"
LICL_BJERRUM = 7.114
RPM_BJERRUM = 7.14
needs_data = pytest.mark.skipif(not LICL.exists(), reason="published LiCl table not at hand")


def primitive_table(
    cc: float, ca: float, aa: float, *, spacing: float = 0.05, last: float = 10.0
) -> PmfTable:
    r = np.round(spacing * np.arange(1, round(last / spacing) + 1), 6)
    pairs = {
        name: np.where(r < d - 1e-9, np.inf, 0.0)
        for name, d in (("cc", cc), ("ca", ca), ("aa", aa))
    }
    return PmfTable(r, pairs)


def primitive(
    diameter: float = 4.25,
    charges: tuple[float, float] = (1, -1),
    bjerrum: float = RPM_BJERRUM,
    spacing: float = 0.05,
) -> Ions:
    table = primitive_table(diameter, diameter, diameter, spacing=spacing)
    return ions_from_table(table, charges, bjerrum)


@pytest.fixture(scope="module")
def licl() -> Ions:
    if LICL.exists():
        return ions_from_table(read_pmf_table(LICL), (1, -1), LICL_BJERRUM)
    return published_pmf("LiCl").ions()


# Debye-Hueckel, closed forms


@pytest.mark.parametrize("theory", ["hnc", "mpb", "pb", "lpb", "dhx", "msa"])
def test_debye_hueckel_limit(theory):
    ions = primitive()
    law = limiting_law(ions.densities(1e-4), np.array([1.0, -1.0]), RPM_BJERRUM)
    [point] = solve_series(ions, [1e-4], theory)
    assert point.ln_y == pytest.approx(law.mean_ln_y, abs=1e-3)
    assert point.osmotic_coefficient == pytest.approx(law.osmotic_coefficient, abs=1e-3)
    assert point.dlna_dlnc == pytest.approx(1 + law.mean_ln_y / 2, abs=1e-3)


def test_debye_hueckel_limit_of_other_charges():
    ions, z = primitive(charges=(2, -1)), np.array([2.0, -1.0])
    law = limiting_law(ions.densities(1e-4), z, RPM_BJERRUM)
    structure = solve_hnc(ions, 1e-4)
    assert mean_log_activity_coefficient(structure) / law.mean_ln_y == pytest.approx(1, abs=0.05)


def test_limiting_law_in_numbers():
    """ln y = -l_B kappa/2: -1.1762 sqrt(m) in water at 25 C, here at 1 mol/L of water's density."""
    rho = np.full(2, 0.99705 * MOL_PER_LITRE_IN_PER_ANGSTROM3)
    law = limiting_law(rho, np.array([1.0, -1.0]), 7.158)
    assert law.mean_ln_y == pytest.approx(-1.1762, abs=5e-4)
    assert law.osmotic_coefficient - 1 == pytest.approx(law.mean_ln_y / 3)


def test_mean_spherical_of_equal_spheres():
    rho, z, d = np.full(2, MOL_PER_LITRE_IN_PER_ANGSTROM3), np.array([1.0, -1.0]), 4.25
    found = mean_spherical(rho, z, np.full(2, d), RPM_BJERRUM)
    kappa = math.sqrt(8 * math.pi * RPM_BJERRUM * rho[0])
    gamma = (math.sqrt(1 + 2 * kappa * d) - 1) / (2 * d)
    e = math.pi / 6 * 2 * rho[0] * d**3
    phi_hs = (1 + e + e**2 - e**3) / (1 - e) ** 3
    ln_y_hs = (8 * e - 9 * e**2 + 3 * e**3) / (1 - e) ** 3
    assert found.osmotic_coefficient == pytest.approx(
        phi_hs - gamma**3 / (3 * math.pi * 2 * rho[0])
    )
    assert found.mean_ln_y == pytest.approx(ln_y_hs - RPM_BJERRUM * gamma / (1 + gamma * d))


@pytest.mark.parametrize("charged", [True, False])
def test_unequal_spheres_obey_gibbs_and_duhem(charged):
    z, numbers, d = np.array([2.0, -1.0]), np.array([1.0, 2.0]), np.array([5.0, 3.6])

    def at(c: float):
        rho = c * MOL_PER_LITRE_IN_PER_ANGSTROM3 * numbers
        return mean_spherical(rho, z, d, 7.14) if charged else hard_spheres(rho, d)

    low, high = at(1 - 1e-4), at(1 + 1e-4)
    pressure = ((1 + 1e-4) * high.osmotic_coefficient - (1 - 1e-4) * low.osmotic_coefficient) / 2e-4
    assert pressure == pytest.approx(1 + (high.mean_ln_y - low.mean_ln_y) / 2e-4, rel=1e-6)


def test_linear_poisson_boltzmann_around_a_hard_sphere():
    ions = primitive(4.23, spacing=0.01)
    grid = grid_for(ions.screening(1.0))
    psi, _ = central_ion_potential(ions, 1.0, 0, grid, linear=True)
    kappa, outside = ions.screening(1.0), grid.r >= 4.23
    exact = RPM_BJERRUM * np.exp(-kappa * (grid.r - 4.23)) / ((1 + kappa * 4.23) * grid.r)
    assert np.abs(psi - exact)[outside].max() < 5e-6


# Published numbers of the restricted primitive model


def naive_hnc_of_hard_spheres(c: float) -> float:
    """HNC with Picard iteration, g cut at grid points, the virial of Friedman: nothing shared."""
    n, dr, d, a = 8191, 0.05, 4.25, 0.6
    r = dr * np.arange(1, n + 1)
    k = np.pi / ((n + 1) * dr) * np.arange(1, n + 1)
    rho = c * MOL_PER_LITRE_IN_PER_ANGSTROM3
    outside = r >= d - 1e-9
    z = np.array([1.0, -1.0])[:, None]
    long, short = RPM_BJERRUM * erf(a * r) / r, RPM_BJERRUM * erfc(a * r) / r
    long_k = 4 * np.pi * RPM_BJERRUM * np.exp(-(k**2) / (4 * a**2)) / k**2
    kappa = math.sqrt(8 * math.pi * RPM_BJERRUM * rho)
    gamma = z * (RPM_BJERRUM * (1 - np.exp(-kappa * r)) / r - long)
    for _ in range(400):
        h = np.where(outside, np.exp(np.minimum(gamma - z * short, 50)), 0.0) - 1  # like, unlike
        direct = 2 * np.pi * dr / k * dst(r * (h - gamma), 1)
        full = direct - z * long_k
        density, charge = full[0] + full[1], full[0] - full[1]
        total_n, total_z = density / (1 - rho * density), charge / (1 - rho * charge)
        total = np.array([total_n + total_z, total_n - total_z]) / 2
        new = k[0] / (4 * np.pi**2 * r) * dst(k * (total - direct), 1)
        change = np.abs(new - gamma).max()
        gamma = gamma + 0.4 * (new - gamma)
        if change < 1e-7:
            break
    contact = np.exp(gamma - z * short)[:, round(d / dr) - 1]
    coulomb = RPM_BJERRUM * dr * np.sum(r * (h[0] - h[1]))
    return 1 + 2 * np.pi / 3 * rho * (d**3 * contact.sum() + coulomb)


@pytest.mark.parametrize(("c", "published"), [(0.01, 0.9692), (0.1, 0.9449), (1.0, 1.0909)])
def test_published_hnc_on_its_own_grid(c, published):
    """The published HNC numbers stand on 0.05 angstrom with g cut at grid points, half a spacing
    too near. A naive code repeats them; ours is the limit of fine grids (tests below)."""
    assert naive_hnc_of_hard_spheres(c) == pytest.approx(published, abs=1.5e-4)
    ours = osmotic_coefficient(solve_hnc(primitive(), c))
    assert ours == pytest.approx(published, abs=2.5e-3)


@pytest.mark.parametrize(
    ("c", "monte_carlo", "error"),
    [(0.01, 0.970, 0.0015), (0.1, 0.9445, 0.0015), (1.0, 1.094, 0.005)],
)
def test_hnc_agrees_with_monte_carlo(c, monte_carlo, error):
    assert osmotic_coefficient(solve_hnc(primitive(), c)) == pytest.approx(monte_carlo, abs=error)


@pytest.mark.parametrize(("c", "monte_carlo"), [(0.1, 0.9445), (1.0, 1.094), (1.968, 1.346)])
@pytest.mark.parametrize("theory", ["mpb", "rhnc"])
def test_better_theories_agree_with_monte_carlo(theory, c, monte_carlo):
    """Card & Valleau (1970) as quoted for the restricted primitive model, 4.25 angstrom."""
    [point] = solve_series(primitive(), [c], theory)
    assert point.osmotic_coefficient == pytest.approx(monte_carlo, rel=0.016)


@pytest.mark.parametrize("spacing", [0.01, 0.05, 0.125])
def test_a_hard_wall_may_stand_anywhere_on_any_table(spacing):
    ions = primitive(4.25, spacing=spacing)
    assert osmotic_coefficient(solve_hnc(ions, 1.0)) == pytest.approx(1.09277, abs=3e-5)


def test_a_hard_wall_may_stand_anywhere_between_grid_points():
    structures = [
        solve_hnc(primitive(4.25), 1.0, grid=RadialGrid(round(102.4 / dr) - 1, dr))
        for dr in (0.025, 0.05, 0.0514, 0.06)
    ]
    for find in (osmotic_coefficient, inverse_compressibility, mean_log_activity_coefficient):
        values = [find(structure) for structure in structures]
        assert np.ptp(values) < 3e-5


# Published numbers of LiCl


@needs_data
@pytest.mark.parametrize(
    ("c", "published"), [(0.01, 0.958), (0.1, 0.939), (0.5, 1.044), (1.0, 1.221), (2.473, 1.887)]
)
def test_published_activity_derivative_of_licl(licl, c, published):
    assert inverse_compressibility(solve_hnc(licl, c)) == pytest.approx(published, abs=6e-4)


@needs_data
@pytest.mark.parametrize(
    ("c", "published"),
    [(0.01, -0.0984), (0.107, -0.2340), (0.456, -0.2774), (0.941, -0.2007), (2.473, 0.2759)],
)
def test_published_activity_coefficient_of_licl(licl, c, published):
    found = mean_log_activity_coefficient(solve_hnc(licl, c))
    assert found == pytest.approx(published, abs=2e-3 if c == 0.01 else 1e-4)


@needs_data
@pytest.mark.parametrize(
    ("c", "virial", "kirkwood_buff"), [(0.1, 0.9443, 0.948), (1.0, 1.0555, 1.315)]
)
def test_published_poisson_boltzmann_of_licl(licl, c, virial, kirkwood_buff):
    structure = solve_poisson_boltzmann(licl, c)
    assert osmotic_coefficient(structure) == pytest.approx(virial, abs=4e-4)
    g = structure.grid.integral(structure.total)
    rho = licl.densities(c)[0]
    found = 1 / (1 + rho * (g[0] + g[2] + 2 * g[1]) / 2)
    assert found == pytest.approx(kirkwood_buff, abs=6e-4)


def test_virial_and_chemical_potential_of_hnc_are_one(licl):
    """Morita & Hiroike: in HNC d(c phi)/dc from the virial equals d ln a/d ln c from mu."""
    step = 0.01
    low, high = (solve_hnc(licl, 2.473 + sign * step) for sign in (-1, 1))
    pressure = [s.molarity * osmotic_coefficient(s) for s in (low, high)]
    activity = [mean_log_activity_coefficient(s) + math.log(s.molarity) for s in (low, high)]
    from_pressure = (pressure[1] - pressure[0]) / (2 * step)
    from_mu = (activity[1] - activity[0]) / math.log(high.molarity / low.molarity)
    assert from_pressure == pytest.approx(from_mu, abs=1e-4)


# Sum rules and symmetries


@pytest.mark.parametrize("charges", [(1, -1), (2, -1)])
def test_stillinger_lovett(charges):
    ions = primitive(4.6, charges)
    structure = solve_hnc(ions, 0.3, grid=RadialGrid(16383))
    k, kappa = structure.grid.k[:4], ions.screening(0.3)
    ratio = charge_structure_factor(structure)[:4] / (k / kappa) ** 2
    assert ratio[0] == pytest.approx(1, abs=2e-3)


def test_charge_around_an_ion_is_its_own_with_the_other_sign(licl):
    for structure in (solve_hnc(licl, 0.5), solve_symmetric(licl, 0.5)):
        g = structure.grid.integral(structure.total)
        rho = licl.densities(0.5)[0]
        assert rho * (g[0] - g[1]) == pytest.approx(-1, abs=2e-3)


@pytest.mark.parametrize("theory", ["hnc", "mpb", "pb", "dhx", "msa"])
def test_other_units_leave_results_unchanged(theory):
    """Lengths in another unit: distances, Bjerrum length and density scaled together."""
    scale = 1.3
    table = primitive_table(3.9, 4.16, 4.42, spacing=0.065)
    scaled = PmfTable(table.r * scale, table.pairs)
    [one] = solve_series(ions_from_table(table, (1, -1), 7.0), [0.8], theory)
    [other] = solve_series(ions_from_table(scaled, (1, -1), 7.0 * scale), [0.8 / scale**3], theory)
    assert other.osmotic_coefficient == pytest.approx(one.osmotic_coefficient, abs=5e-5)
    assert other.ln_y == pytest.approx(one.ln_y, abs=5e-5)
    assert other.dlna_dlnc == pytest.approx(one.dlna_dlnc, abs=5e-4)


@pytest.mark.parametrize("theory", ["hnc", "mpb", "pb"])
def test_exchanging_cation_and_anion_changes_nothing(theory):
    one = ions_from_table(primitive_table(5.0, 4.3, 3.6), (2, -1), 7.14)
    other = ions_from_table(primitive_table(3.6, 4.3, 5.0), (1, -2), 7.14)
    [a], [b] = solve_series(one, [0.4], theory), solve_series(other, [0.4], theory)
    assert a.osmotic_coefficient == pytest.approx(b.osmotic_coefficient, abs=1e-7)
    assert a.dlna_dlnc == pytest.approx(b.dlna_dlnc, abs=1e-6)


@pytest.mark.parametrize("theory", ["hnc", "mpb", "pb"])
def test_a_mixture_of_equals_is_the_salt(theory):
    """Half of the cations get another name: three species, the same solution."""
    salt = primitive(4.3)
    cc, ca, aa = salt.pmfs
    mixture = Ions(("A", "B", "X"), (1, 1, -1), (0.4, 0.6, 1.0), (cc, cc, ca, cc, ca, aa), 7.14)
    [a], [b] = solve_series(salt, [0.7], theory), solve_series(mixture, [0.7], theory)
    assert a.osmotic_coefficient == pytest.approx(b.osmotic_coefficient, abs=1e-7)
    assert a.ln_y == pytest.approx(b.ln_y, abs=1e-7)
    assert a.dlna_dlnc == pytest.approx(b.dlna_dlnc, abs=1e-6)


def test_routes_agree_where_the_theory_is_good(licl):
    points = solve_series(licl, [0.01, 0.1, 1.0], "hnc")
    assert all(point.ln_y_spread < 0.004 for point in points)
    assert points[0].osmotic_spread < points[2].osmotic_spread
    [bridged] = solve_series(licl, [2.473], "rhnc")
    [plain] = solve_series(licl, [2.473], "hnc")
    assert bridged.dlna_dlnc_spread < 0.3 * plain.dlna_dlnc_spread
    assert bridged.dlna_dlnc == pytest.approx(1.90, abs=0.03), "Monte Carlo 1.90 +- 0.02"


def test_a_salt_of_2_1_charges_by_both_routes():
    ions = primitive(4.5, (2, -1))
    assert ions.numbers == (1, 2)
    points = solve_series(ions, [0.01, 0.1, 0.5], "hnc")
    assert points[2].osmotic_coefficient > points[1].osmotic_coefficient < 1
    assert all(point.ln_y_spread < 0.02 for point in points)


def test_poisson_boltzmann_against_solve_bvp():
    """The non-linear equation around Li+, by scipy's collocation."""
    licl, c = published_pmf("LiCl").ions(), 1.0
    grid = grid_for(licl.screening(c), shortest=40.0)
    psi, _ = central_ion_potential(licl, c, 0, grid)
    rho, kappa = licl.densities(c)[0], licl.screening(c)
    like, unlike = licl.pmfs[0], licl.pmfs[1]
    first, length = unlike.wall, licl.bjerrum_length

    def slope(r, y):
        v = y[0] / r
        charge = rho * (np.exp(-like.value(r) - v) - np.exp(-unlike.value(r) + v))
        return np.vstack([y[1], -4 * np.pi * length * r * charge])

    def ends(left, right):
        return np.array([left[0] - length - left[1] * first, right[1] + kappa * right[0]])

    r = np.linspace(first, grid.r[-1], 500)
    start = length * np.exp(-kappa * r)
    found = solve_bvp(slope, ends, r, np.vstack([start, -kappa * start]), tol=1e-6, max_nodes=20000)
    points = (grid.r > 2) & (grid.r < 30)
    expected = found.sol(grid.r[points])[0] / grid.r[points]
    assert np.abs(psi[points] - expected).max() < 2e-6


def test_theories_meet_in_dilute_solution(licl):
    values = [
        osmotic_coefficient(solve(licl, 0.002))
        for solve in (
            solve_hnc,
            solve_symmetric,
            solve_poisson_boltzmann,
            solve_debye_hueckel_exponential,
        )
    ]
    assert np.ptp(values) < 2e-4


def test_reference_fluid_is_carnahan_and_starling():
    ions = primitive(4.25)
    grid = RadialGrid(2047)
    gamma = solve_reference(ions, 3.0, grid)
    contact = np.interp(4.25, grid.r, np.exp(gamma + bridge_function(gamma))[1])
    rho = ions.densities(3.0).sum()
    phi = 1 + 2 * math.pi / 3 * rho * 4.25**3 * contact
    exact = hard_spheres(ions.densities(3.0), np.full(2, 4.25)).osmotic_coefficient
    assert phi == pytest.approx(exact, rel=5e-3)


def test_fluctuation_term_of_known_potentials():
    """L of a uniform potential is that potential; of 1/r outside the sphere, 1/r (Laplace); of
    exp(-kappa r)/r it is f + F a f' with f = sinh(kappa a)/(kappa a) exp(-kappa r)/r."""
    a, kappa, grid = 4.0, 0.3, RadialGrid(2047)
    term, r = FluctuationTerm(grid, a, kappa), grid.r
    use = (r > a) & (r < 60)
    assert term.mean(np.ones_like(r), 0.0)[use] == pytest.approx(1.0)
    assert term.mean(7.14 / r, 7.14)[use] == pytest.approx(7.14 / r[use])
    x = kappa * a
    mean, slope = np.sinh(x) / x, (np.cosh(x) - np.sinh(x) / x) / a
    exact = (mean + a * slope / (1 + x)) * np.exp(-kappa * r) / r
    assert term.mean(np.exp(-kappa * r) / r, 1.0)[use] == pytest.approx(exact[use], rel=1e-5)


# Back from distribution functions


def test_inverse_hnc_returns_the_potentials(licl):
    structure = solve_hnc(licl, 1.0)
    inside = structure.grid.r <= 14.0
    found = inverse_hnc(structure.grid.r[inside], structure.g[:, inside], 1.0, licl.bjerrum_length)
    for w, pmf in zip(found.w, licl.pmfs, strict=True):
        exact = pmf.value(found.r)
        seen = (exact < 6) & (found.r < 12)
        assert seen.sum() > 100
        assert np.abs(w[seen] - exact[seen]).max() < 0.01


def test_inverse_then_forward(licl):
    structure = solve_hnc(licl, 2.0)
    inside = structure.grid.r <= 25.0
    table = inverse_hnc(
        structure.grid.r[inside], structure.g[:, inside], 2.0, licl.bjerrum_length
    ).table()
    again = solve_hnc(ions_from_table(table, (1, -1), licl.bjerrum_length), 2.0)
    assert osmotic_coefficient(again) == pytest.approx(osmotic_coefficient(structure), abs=2e-3)


# Failures


def test_no_solution_is_an_error_with_its_numbers():
    r = np.round(0.05 * np.arange(1, 201), 6)
    well = np.where(r < 2.5, np.inf, -9.0 * np.exp(-((r - 2.5) ** 2) / 2))
    ions = ions_from_table(PmfTable(r, {"cc": well, "ca": well, "aa": well}), (1, -1), 7.14)
    with pytest.raises(NotConverged, match="mol/L") as caught:
        solve_series(ions, [1.0], "hnc")
    assert caught.value.residual > 1e-8
    assert caught.value.concentration < 1.0


def test_uncharged_ions_that_separate_have_no_exclusion_term():
    r = np.round(0.05 * np.arange(1, 201), 6)
    like = np.where(r < 3.0, np.inf, -2.5 * np.exp(-((r - 4.0) ** 2)))
    unlike = np.where(r < 4.0, np.inf, 0.0)
    ions = ions_from_table(PmfTable(r, {"cc": like, "ca": unlike, "aa": like}), (1, -1), 7.14)
    with pytest.raises(NotConverged, match="uncharged ions"):
        solve_symmetric(ions, 3.0)
