"""Tables, conversions, error bars and dynamics: what stands around the theories."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bjerrum.density import molar_mass, molarity_of_molality, solution_density
from bjerrum.errors import InputError, SeriesTooShort
from bjerrum.literature.pitzer import (
    PITZER_A_PHI,
    activity_derivative,
    mean_activity_coefficient,
    osmotic_coefficient,
)
from bjerrum.literature.solubility import solubility
from bjerrum.literature.water import water_density
from bjerrum.thermodynamics import conversions
from bjerrum.thermodynamics.curves import published_curves, solution_curves
from bjerrum.thermodynamics.experiment import experimental_curves
from bjerrum.thermodynamics.hnc import solve_hnc
from bjerrum.thermodynamics.ions import Ions, ions_from_table, salt_numbers
from bjerrum.thermodynamics.pressure import (
    coulomb_energies,
    osmotic_coefficient_from_virial,
    short_range_virial,
)
from bjerrum.thermodynamics.published import PUBLISHED, published_pmf, resample_table
from bjerrum.thermodynamics.series import solve_series
from bjerrum.thermodynamics.solution import QUANTITIES, mean_table, solution_point, solve_tables
from bjerrum.thermodynamics.structure import osmotic_coefficient as virial_of
from bjerrum.thermodynamics.table import PmfTable, read_pmf_table
from bjerrum.units import MOL_PER_LITRE_IN_PER_ANGSTROM3, bjerrum_length

DATA = Path(__file__).parents[2] / "shared" / "data" / "published"
LICL = DATA / "licl_short_range_pmf_coarse_grained.csv"
needs_data = pytest.mark.skipif(not LICL.exists(), reason="published tables not at hand")
T = 298.15


def soft_table(spacing: float = 0.05, last: float = 10.0) -> PmfTable:
    """(4/r)^9 for every pair: smooth, short-ranged, no walls."""
    r = np.round(spacing * np.arange(1, round(last / spacing) + 1), 6)
    w = (4.0 / r) ** 9
    return PmfTable(r, {"cc": w, "ca": w, "aa": w})


def write_table(path: Path, table: PmfTable, **more: np.ndarray) -> Path:
    columns = {"r_angstrom": table.r, **{f"w_{n}_kT": w for n, w in table.pairs.items()}, **more}
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(columns), *(",".join(f"{x:.8g}" for x in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


# Conversions


@pytest.mark.parametrize("c", [0.1, 1.0, 3.0])
def test_conversions_there_and_back(c):
    v = conversions.volumes("LiCl", c, T)
    phi = conversions.osmotic_lewis_randall(1.2, v)
    assert conversions.osmotic_mcmillan_mayer(phi, v) == pytest.approx(1.2)
    ln_gamma = conversions.log_gamma_lewis_randall(-0.1, 1.2, v)
    assert conversions.log_y_mcmillan_mayer(ln_gamma, 1.2, v) == pytest.approx(-0.1)
    assert conversions.log_gamma_of_log_y(conversions.log_y_of_log_gamma(0.3, v), v) == (
        pytest.approx(0.3)
    )
    assert conversions.molarity_at("LiCl", v.molality, T) == pytest.approx(c)


@pytest.mark.parametrize("m", [0.5, 2.0, 5.0])
def test_partial_molar_volume_against_the_volume_itself(m):
    def volume(molality: float) -> float:
        """Litres that hold one kilogram of water."""
        mass = 1 + molality * molar_mass("LiCl") / 1e3
        return mass / solution_density("LiCl", molality, T) * 1e3

    step = 1e-4
    slope = (volume(m + step) - volume(m - step)) / (2 * step)
    assert conversions.partial_molar_volume("LiCl", m, T) == pytest.approx(slope, rel=1e-5)
    c = molarity_of_molality(
        m, molar_mass=molar_mass("LiCl"), density=solution_density("LiCl", m, T)
    )
    assert conversions.molarity_derivative("LiCl", m, T) == pytest.approx(1 - c * slope, rel=1e-5)


@pytest.mark.parametrize("volume", [-0.007, 0.0145, 0.3])
def test_a_constant_volume_of_the_salt(volume):
    """Water and salt fill the litre; molality and molarity are each other's inverse."""
    v = conversions.constant_volumes(volume, 0.8, T)
    water_kg = 0.8 / v.molality
    assert 0.8 * volume + water_kg / v.water_density == pytest.approx(1, abs=1e-12)
    assert conversions.molarity_at_volume(volume, v.molality, T) == pytest.approx(0.8, rel=1e-12)
    with pytest.raises(InputError, match="no room for water"):
        conversions.constant_volumes(0.3, 4.0, T)


def test_a_constant_volume_keeps_gibbs_and_duhem():
    """d ln gamma = d phi + (phi - 1) d ln m at 1 bar, exact where the volumes are additive."""
    ions = ions_from_table(soft_table(), (2, -1), 7.14)
    c = [0.5 - 1e-3, 0.5, 0.5 + 1e-3]
    low, here, high = (
        solution_point(p, None, T, salt_volume=0.02) for p in solve_series(ions, c, "hnc")
    )
    left = high.ln_gamma_lr - low.ln_gamma_lr
    step = math.log(high.molality_mol_per_kg / low.molality_mol_per_kg)
    right = high.osmotic_coefficient_lr - low.osmotic_coefficient_lr
    right += (here.osmotic_coefficient_lr - 1) * step
    assert left == pytest.approx(right, abs=2e-6)


def test_conversion_of_the_derivative_is_the_derivative_of_the_conversion():
    ions = published_pmf("LiCl").ions()
    c, step = 2.0, 0.01
    low, middle, high = solve_series(ions, [c - step, c, c + step], "hnc")

    def ln_a(point) -> float:
        v = conversions.volumes("LiCl", point.molarity, T)
        ln_gamma = conversions.log_gamma_lewis_randall(point.ln_y, point.osmotic_coefficient, v)
        return ln_gamma + math.log(v.molality)

    slope = (ln_a(high) - ln_a(low)) / math.log(high.molarity / low.molarity)
    virial = 1 + (high.ln_y - low.ln_y) / math.log(high.molarity / low.molarity)
    found = conversions.derivative_lewis_randall(
        virial, middle.osmotic_coefficient, conversions.volumes("LiCl", c, T)
    )
    assert found == pytest.approx(slope, abs=2e-4)


def test_integration_turns_osmotic_into_activity_coefficients():
    """Gibbs-Duhem on Pitzer's equations: ln gamma = phi - 1 + int (phi - 1) d ln m."""
    m = np.linspace(0.05, 2.4, 40) ** 2
    slope = -PITZER_A_PHI
    phi = np.array([osmotic_coefficient("NaCl", x) for x in m])
    ln_gamma = phi - 1 + conversions.integrate_excess(m, phi - 1, slope)
    exact = np.log([mean_activity_coefficient("NaCl", x) for x in m])
    assert np.abs(ln_gamma - exact).max() < 2e-4
    derivative = np.array([activity_derivative("NaCl", x) for x in m])
    assert np.abs(conversions.integrate_excess(m, derivative - 1, 1.5 * slope) - exact).max() < 2e-4
    assert np.abs(1 + conversions.average_excess(m, derivative - 1, 1.5 * slope) - phi).max() < 2e-4


@pytest.mark.parametrize("bad", [[0.0, 1.0], [1.0, 0.5], [-1.0]])
def test_integration_refuses_concentrations_that_do_not_increase(bad):
    with pytest.raises(InputError, match="increase"):
        conversions.integrate_excess(bad, [0.0] * len(bad), -0.4)


def test_experimental_derivative_on_the_molar_scale():
    """d ln a/d ln c of LiCl at 0.1, 1, 2, 3 and 6 mol/kg, from independent arithmetic."""
    curves = experimental_curves("LiCl", [0.1, 1, 2, 3, 6])
    assert curves.dlna_dlnc == pytest.approx([0.94, 1.16, 1.48, 1.86, 3.25], abs=0.006)
    assert np.exp(curves.ln_gamma) == pytest.approx([0.792, 0.774, 0.926, 1.168, 2.748], rel=2e-3)


# Published LiCl


PUBLISHED_LICL = {
    0.01: (0.969, 0.904),
    0.1: (0.942, 0.792),
    0.5: (0.970, 0.747),
    1.0: (1.039, 0.798),
    1.5: (1.119, 0.889),
    2.473: (1.298, 1.171),
}
"""phi and gamma at 1 bar by HNC at each molarity. The published virial was integrated with finite
differences of w on 0.05 angstrom, which adds up to 0.004 at the last; gamma did not need it."""


def test_published_lewis_randall_values_of_licl():
    table = read_pmf_table(LICL) if LICL.exists() else published_pmf("LiCl").table()
    points = solve_tables(
        [table],
        lambda t: ions_from_table(t, (1, -1), 7.114),
        list(PUBLISHED_LICL),
        "hnc",
        salt="LiCl",
        temperature=300.0,
    )
    for point, (phi, gamma) in zip(points, PUBLISHED_LICL.values(), strict=True):
        assert point.osmotic_coefficient_lr == pytest.approx(phi, abs=0.0042)
        assert math.exp(point.ln_gamma_lr) == pytest.approx(gamma, abs=1e-3)
        assert point.residual < 1e-8


def test_the_virial_of_a_finite_difference_is_what_the_published_one_was():
    """g dw/dr summed on the grid with np.gradient gives the published 1.363 at 2.473 mol/L."""
    if not LICL.exists():
        pytest.skip("published tables not at hand")
    table, c = read_pmf_table(LICL), 2.473
    structure = solve_hnc(ions_from_table(table, (1, -1), 7.114), c)
    grid, z = structure.grid, np.array([1, -1, 1])[:, None]
    w = np.array([np.interp(grid.r, table.r, x, right=0.0) for x in table.pairs.values()])
    w = np.where(grid.r < 1.5, 2000.0, w)
    g = np.exp(-w) * np.exp(np.minimum(structure.cavity, 200))
    slope = np.gradient(w, grid.r, axis=1)
    force = grid.r**3 * (g * slope - (g - 1) * z * 7.114 / grid.r**2)
    rho = c * MOL_PER_LITRE_IN_PER_ANGSTROM3
    total = np.array([1, 2, 1]) @ (4 * np.pi * grid.dr * force.sum(axis=1))
    assert 1 - rho / 12 * total == pytest.approx(1.363, abs=1e-3)
    assert virial_of(structure) == pytest.approx(1.3589, abs=1e-4)


@needs_data
def test_the_shipped_table_is_the_published_one():
    published = published_pmf("LiCl")
    original = read_pmf_table(LICL)
    length = bjerrum_length(published.dielectric_constant, published.temperature)
    ions = ions_from_table(original, published.charges, length)
    columns = resample_table(original, ions)
    shipped = published.table()
    assert shipped.r == pytest.approx(columns["r_angstrom"])
    for name, w in shipped.pairs.items():
        assert w == pytest.approx(columns[f"w_{name}_kT"], rel=1e-5, abs=1e-9)
    [ours], [theirs] = solve_series(published.ions(), [2.473]), solve_series(ions, [2.473])
    assert ours.dlna_dlnc == pytest.approx(theirs.dlna_dlnc, abs=2e-4)


def test_published_curves_stand_beside_experiment():
    curves = published_curves("LiCl")
    assert [panel["symbol"] for panel in curves["panels"]] == ["phi", "ln gamma", "d ln a/d ln c"]
    osmotic = {curve["label"]: curve for curve in curves["panels"][0]["curves"]}
    assert set(osmotic) == {"hnc", "rhnc", "mpb", "experiment, 25 C"}
    ours, measured = osmotic["hnc"], osmotic["experiment, 25 C"]
    assert ours["x"][-1] == pytest.approx(6.0)
    assert len(ours["band"]) == len(ours["x"])
    below = np.asarray(ours["x"]) < 0.5
    expected = np.interp(ours["x"], measured["x"], measured["value"])
    assert np.abs(np.asarray(ours["value"]) - expected)[below].max() < 0.01
    assert [pair["pair"] for pair in curves["potentials"]] == ["Li-Li", "Li-Cl", "Cl-Cl"]
    assert "not from this run's own dynamics" in curves["notes"][0]
    assert set(PUBLISHED) == {"LiCl"}
    with pytest.raises(InputError, match="available: LiCl"):
        published_pmf("NaCl")


def test_curves_without_density_are_against_molarity():
    ions = ions_from_table(soft_table(), (2, -1), 7.14)
    points = [solution_point(p, None, T) for p in solve_series(ions, [0.1, 0.2])]
    curves = solution_curves(
        ions, {"hnc": points}, salt=None, temperature=T, pmf_source="test", pmf_doi=None, notes=[]
    )
    assert curves["axis"] == "concentration_mol_per_L"
    assert [len(panel["curves"]) for panel in curves["panels"]] == [1, 1, 1]
    assert points[0].molality_mol_per_kg is None
    assert points[0].osmotic_coefficient_lr is None


# Error bars


def test_a_committee_gives_its_standard_deviation():
    tables = [
        replace(soft_table(), pairs={n: w * scale for n, w in soft_table().pairs.items()})
        for scale in (0.9, 1.0, 1.1)
    ]

    def solve(some: list[PmfTable]):
        make = lambda table: ions_from_table(table, (1, -1), 7.14)  # noqa: E731
        return solve_tables(some, make, [0.5], "pb", salt="LiCl", temperature=T)[0]

    together, alone = solve(tables), [solve([table]) for table in tables]
    assert together.standard_error is not None
    assert alone[0].standard_error is None
    for name in QUANTITIES:
        spread = float(np.std([getattr(point, name) for point in alone], ddof=1))
        assert together.standard_error[name] == pytest.approx(spread, rel=1e-9)
        assert getattr(together, name) == pytest.approx(getattr(alone[1], name), rel=1e-6)


def test_columns_of_errors_are_carried_to_the_answers():
    """To first order phi changes by its derivative: twice the error, twice the bar."""

    def error_of(size: float) -> float:
        table = soft_table()
        smooth = np.where(table.r < 6, size, 0.0) * np.exp(-table.r)
        table = replace(table, errors={"ca": smooth})
        make = lambda t: ions_from_table(t, (1, -1), 7.14)  # noqa: E731
        [point] = solve_tables([table], make, [0.5], "pb", salt=None, temperature=T)
        assert point.standard_error is not None
        return point.standard_error["osmotic_coefficient_mm"]

    assert error_of(2.0) == pytest.approx(2 * error_of(1.0), rel=0.01)
    assert error_of(1.0) > 1e-5


def test_tables_of_a_committee_must_fit_together():
    with pytest.raises(InputError, match="distances differ"):
        mean_table([soft_table(0.05), soft_table(0.1)])
    with_errors = replace(soft_table(), errors={"ca": np.ones(200)})
    with pytest.raises(InputError, match="not both"):
        mean_table([with_errors, with_errors])


# Tables


def test_a_table_is_read_with_comments_errors_and_either_order(tmp_path):
    table = soft_table()
    path = write_table(tmp_path / "t.csv", table, w_ca_kT_standard_error=0.1 * np.ones(200))
    text = (
        path.read_text().replace("w_ca_kT", "w_ac_kT").replace("r_angstrom", "# note\nr_angstrom")
    )
    path.write_text(text)
    found = read_pmf_table(path)
    assert set(found.pairs) == {"cc", "ca", "aa"}
    assert found.errors["ca"] == pytest.approx(0.1)
    assert found.pairs["ca"] == pytest.approx(table.pairs["ca"])


def spoil(table: PmfTable, **pairs: np.ndarray) -> PmfTable:
    return replace(table, pairs={**table.pairs, **pairs})


R = soft_table().r
UNUSABLE = {
    "a bound state": (spoil(soft_table(), ca=-20 / R), "bound state"),
    "bound behind a barrier": (
        spoil(soft_table(), ca=(4 / R) ** 9 - np.where(R < 1.5, 1e8, 0)),
        r"below 1\.45 angstrom",
    ),
    "nothing repulsive": (spoil(soft_table(), ca=0 * R), "bound state"),
    "starts outside the core": (
        PmfTable(R[80:], {n: w[80:] for n, w in soft_table().pairs.items()}),
        "outside the repulsive core",
    ),
    "too short": (
        PmfTable(R[:90], {n: w[:90] for n, w in soft_table().pairs.items()}),
        r"too short: w is still 0\.6",
    ),
    "too coarse": (soft_table(0.5), "too coarse: 0.5 angstrom"),
    "a well of its own": (
        spoil(soft_table(), ca=np.where(R < 3, np.inf, -30 * np.exp(-((R - 3.3) ** 2) * 4))),
        r"well of -32\.\d+ kT at 3\.3 angstrom: a bound state",
    ),
    "a step inside": (
        spoil(soft_table(), cc=np.where(R < 3, 30.0, 0.0)),
        r"w_cc_kT: w jumps near 3 angstrom",
    ),
    "distances in nm": (PmfTable(R / 10, soft_table().pairs), "if the distances are in nm"),
    "few rows": (spoil(soft_table(), cc=np.where(R > 9.9, 0.0, np.inf)), "at least 4"),
}


@pytest.mark.parametrize(("table", "message"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_unusable_tables_are_refused(table, message):
    with pytest.raises(InputError, match=message):
        ions_from_table(table, (1, -1), 7.14)


@pytest.mark.parametrize("core", [1e308, 1e6, 1000.0, 400.0])
@pytest.mark.parametrize("spacing", [0.02, 0.05])
def test_a_hard_core_may_be_written_as_a_large_number(core, spacing):
    """A spline through the last row of such a core rings: phi came out negative."""
    r = np.round(spacing * np.arange(1, round(10 / spacing) + 1), 6)

    def phi(inside: float) -> float:
        w = np.where(r < 4.2 - 1e-9, inside, 0.0)
        ions = ions_from_table(PmfTable(r, dict.fromkeys(("cc", "ca", "aa"), w)), (1, -1), 7.14)
        return solve_series(ions, [1.0])[0].osmotic_coefficient

    assert phi(core) == pytest.approx(phi(math.inf), abs=1e-9)


def test_a_soft_core_is_no_step():
    """On any spacing that is allowed: the wall's row stays part of the curve."""
    found = []
    for spacing in (0.02, 0.05, 0.1, 0.25):
        r = np.round(spacing * np.arange(1, round(15 / spacing) + 1), 6)
        pairs = {n: 4 * (d / r) ** 12 for n, d in (("cc", 3.5), ("ca", 3.0), ("aa", 4.0))}
        ions = ions_from_table(PmfTable(r, pairs), (1, -1), 7.14)
        found.append(solve_series(ions, [1.0])[0].osmotic_coefficient)
    assert found == pytest.approx([found[0]] * 4, abs=3e-5)


@needs_data
@pytest.mark.parametrize("rows", [600, 700, 800])
def test_a_shortened_licl_table_is_refused(rows):
    table = read_pmf_table(LICL)
    cut = PmfTable(table.r[:rows], {n: w[:rows] for n, w in table.pairs.items()})
    with pytest.raises(InputError, match="too short"):
        ions_from_table(cut, (1, -1), 7.114)


@needs_data
def test_the_published_nacl_table_has_bound_states():
    table = read_pmf_table(DATA / "nacl_short_range_pmf_coarse_grained_4M.csv")
    with pytest.raises(InputError, match=r"w_ca_kT: below 1\.3 angstrom .* bound state"):
        ions_from_table(table, (1, -1), 7.5)


def test_a_wall_and_a_tail_can_be_asked_for():
    table = spoil(soft_table(), ca=(4 / R) ** 9 - np.where(R < 1.5, 1e8, 0))
    ions = ions_from_table(table.with_core({"ca": 1.6}), (1, -1), 7.14)
    assert table.with_core({"ac": 1.6}).pairs["ca"][0] == math.inf
    plain = ions_from_table(soft_table(), (1, -1), 7.14)
    assert ions.pmfs[1].wall == pytest.approx(plain.pmfs[1].wall)
    lifted = spoil(soft_table(), **{n: w + 3.0 for n, w in soft_table().pairs.items()})
    with pytest.raises(InputError, match="align-tail"):
        ions_from_table(lifted, (1, -1), 7.14)
    back = ions_from_table(lifted.aligned(), (1, -1), 7.14)
    assert back.pmfs[0].w[-1] == pytest.approx(0, abs=2e-4)
    short = PmfTable(R[:90], {n: w[:90] for n, w in soft_table().pairs.items()})
    with pytest.raises(InputError, match="too short to be aligned"):
        short.aligned()
    with pytest.raises(InputError, match="no pair 'xy'"):
        table.with_core({"xy": 2.0})


BROKEN = {
    "missing column": ("r_angstrom,w_cc_kT,w_ca_kT\n1,2,3\n", "no column w_aa_kT; found"),
    "other unit": ("r_nm,w_cc_kT,w_ca_kT,w_aa_kT\n1,2,3,4\n", "no column r_angstrom"),
    "unknown pair": ("r_angstrom,w_cc_kT,w_ca_kT,w_aa_kT,w_xx_kT\n1,2,3,4,5\n", "unknown column"),
    "no number": ("r_angstrom,w_cc_kT,w_ca_kT,w_aa_kT\n1,2,oops,4\n", "line 2: w_ca_kT is 'oops'"),
    "nan": ("r_angstrom,w_cc_kT,w_ca_kT,w_aa_kT\n1,2,nan,4\n", "expected a number"),
    "backwards": ("r_angstrom,w_cc_kT,w_ca_kT,w_aa_kT\n2,2,2,2\n1,2,2,2\n", "line 3: .* increase"),
    "semicolons": ("r_angstrom;w_cc_kT;w_ca_kT;w_aa_kT\n1;2;3;4\n", "separated by semicolons"),
    "tabs": ("r_angstrom\tw_cc_kT\tw_ca_kT\tw_aa_kT\n1\t2\t3\t4\n", "separated by tabs"),
    "endless error": (
        "r_angstrom,w_cc_kT,w_ca_kT,w_aa_kT,w_ca_kT_standard_error\n1,2,2,2,inf\n",
        "must be finite and not negative",
    ),
    "short row": ("r_angstrom,w_cc_kT,w_ca_kT,w_aa_kT\n1,2,3\n", "line 2: 3 cells"),
    "empty": ("", "expected a header"),
    "inf outside": ("r_angstrom,w_cc_kT,w_ca_kT,w_aa_kT\n1,2,2,2\n2,2,inf,2\n", "outside the core"),
    "minus inf": ("r_angstrom,w_cc_kT,w_ca_kT,w_aa_kT\n1,2,-inf,2\n2,2,2,2\n", "a bound state"),
    "all inf": ("r_angstrom,w_cc_kT,w_ca_kT,w_aa_kT\n1,2,inf,2\n2,2,inf,2\n", "every row is inf"),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_files_are_refused(tmp_path, text, message):
    path = tmp_path / "pmf.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_pmf_table(path)


def test_charges_make_a_neutral_salt():
    assert salt_numbers(2, -1) == (1, 2)
    assert salt_numbers(2, -2) == (1, 1)
    assert salt_numbers(3, -2) == (2, 3)
    for wrong in ((1, 1), (-1, 1), (0.5, -1)):
        with pytest.raises(InputError, match="charges"):
            salt_numbers(*wrong)
    pmfs = ions_from_table(soft_table(), (1, -1), 7.14).pmfs
    with pytest.raises(InputError, match="not neutral"):
        Ions(("a", "b"), (1, -1), (1, 2), pmfs, 7.14)


@pytest.mark.parametrize("bad", [[-1.0], [math.nan], []])
def test_concentrations_must_be_possible(bad):
    with pytest.raises(InputError, match="concentrations"):
        solve_series(ions_from_table(soft_table(), (1, -1), 7.14), bad)


def test_no_ions_is_an_ideal_solution():
    zero, some = solve_series(ions_from_table(soft_table(), (1, -1), 7.14), [0.0, 0.1], "dhx")
    assert (zero.osmotic_coefficient, zero.ln_y, zero.dlna_dlnc) == (1.0, 0.0, 1.0)
    assert some.osmotic_coefficient != 1


def test_solubility_is_told_with_its_source():
    found = solubility("NaCl")
    assert found is not None
    assert found.molality == pytest.approx(6.15)
    assert "CRC" in found.source.citation
    assert solubility("XYZ") is None
    assert water_density(T) / 1000 == pytest.approx(
        conversions.volumes("LiCl", 1.0, T).water_density
    )


# Dynamics


def test_osmotic_coefficient_of_an_ideal_gas_is_one():
    noise = np.random.default_rng(1).normal(0, 0.02, 400)
    found = osmotic_coefficient_from_virial(noise, np.zeros(400), n_ions=20, temperature=T)
    assert abs(found.value - 1) < 4 * found.standard_error
    with pytest.raises(InputError, match="one length"):
        osmotic_coefficient_from_virial(noise, np.zeros(3), n_ions=20, temperature=T)
    with pytest.raises(SeriesTooShort):
        osmotic_coefficient_from_virial(noise[:3], np.zeros(3), n_ions=20, temperature=T)


def test_virials_are_volume_derivatives_of_the_energy():
    """W = -3 V dU/dV: scale box and positions and difference the energies."""
    ions = ions_from_table(soft_table(), (1, -1), 7.14)
    random, edge, n = np.random.default_rng(3), 21.0, 8
    grid = np.stack(np.meshgrid(*[np.arange(2)] * 3), -1).reshape(-1, 3) * edge / 2
    frame = grid + random.uniform(-1.5, 1.5, (n, 3))
    species, charges = np.arange(n) % 2, np.where(np.arange(n) % 2, -1.0, 1.0)

    def energy(scale: float) -> float:
        delta = (frame[:, None] - frame[None]) * scale
        delta -= edge * scale * np.round(delta / (edge * scale))
        r = np.linalg.norm(delta, axis=-1)[np.triu_indices(n, 1)]
        return float(ions.pmfs[0].value(r).sum())

    step = 1e-5
    slope = (energy(1 + step) - energy(1 - step)) / (2 * step)
    found = short_range_virial(frame[None], edge, species, ions, 1 / 8.617333262e-5)
    assert found[0] == pytest.approx(-slope, rel=1e-6)
    coulomb = [
        coulomb_energies(frame[None] * s, edge * s, charges, 78.3)[0] for s in (1 + 1e-4, 1 - 1e-4)
    ]
    own = coulomb_energies(frame[None], edge, charges, 78.3)[0]
    assert own == pytest.approx(-(coulomb[0] - coulomb[1]) / 2e-4, rel=1e-4)
    with pytest.raises(InputError, match="smaller than twice"):
        short_range_virial(frame[None], 15.0, species, ions, T)


class MonteCarlo:
    """Metropolis sampling of a few ions with an Ewald sum of its own, slow and obvious."""

    def __init__(self, n_pairs: int, edge: float, ions: Ions, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        n = 2 * n_pairs
        side = math.ceil(n ** (1 / 3))
        sites = np.stack(np.meshgrid(*[np.arange(side)] * 3), -1).reshape(-1, 3)[:n]
        self.x = (sites + 0.5) * edge / side
        self.q = np.where(np.arange(n) % 2, -1.0, 1.0)
        self.edge, self.pmf, self.length = edge, ions.pmfs[0], ions.bjerrum_length
        self.alpha = 5.6 / edge
        index = np.arange(-5, 6)
        k = np.stack(np.meshgrid(index, index, index), -1).reshape(-1, 3)
        k = k[(np.sum(k**2, 1) > 0) & (np.sum(k**2, 1) <= 27)]
        k = k[(k[:, 0] > 0) | ((k[:, 0] == 0) & ((k[:, 1] > 0) | ((k[:, 1] == 0) & (k[:, 2] > 0))))]
        self.k = 2 * np.pi / edge * k
        k2 = np.sum(self.k**2, 1)
        self.weight = 4 * np.pi / edge**3 * self.length * np.exp(-k2 / (4 * self.alpha**2)) / k2
        self.sum = np.exp(1j * self.x @ self.k.T).T @ self.q
        fine = np.linspace(0.5, edge, 4000)
        w = np.where(fine < self.pmf.wall, 80.0, np.minimum(self.pmf.value(fine), 80.0))
        self.fine, self.w = fine, w
        from scipy.special import erfc

        self.real = self.length * erfc(self.alpha * fine) / fine

    def pair_energy(self, i: int, at: np.ndarray) -> float:
        delta = self.x - at
        delta -= self.edge * np.round(delta / self.edge)
        r = np.delete(np.sqrt(np.sum(delta**2, 1)), i)
        q = np.delete(self.q, i) * self.q[i]
        return float(np.interp(r, self.fine, self.w).sum() + q @ np.interp(r, self.fine, self.real))

    def sweep(self, width: float) -> None:
        for i in self.random.integers(len(self.q), size=len(self.q)):
            new = self.x[i] + self.random.uniform(-width, width, 3)
            change = self.pair_energy(i, new) - self.pair_energy(i, self.x[i])
            moved = self.q[i] * (np.exp(1j * self.k @ new) - np.exp(1j * self.k @ self.x[i]))
            change += self.weight @ (np.abs(self.sum + moved) ** 2 - np.abs(self.sum) ** 2)
            if self.random.random() < math.exp(min(0.0, -change)):
                self.x[i] = new
                self.sum = self.sum + moved


def test_osmotic_coefficient_of_dynamics_agrees_with_hnc():
    """32 soft ions at 1 mol/L: the third route to phi, against HNC of the same potentials."""
    temperature, dielectric, n_pairs, c = 300.0, 78.3, 16, 1.0
    ions = ions_from_table(soft_table(), (1, -1), bjerrum_length(dielectric, temperature))
    edge = (n_pairs / (c * MOL_PER_LITRE_IN_PER_ANGSTROM3)) ** (1 / 3)
    simulation = MonteCarlo(n_pairs, edge, ions, seed=4)
    frames = []
    for sweep in range(660):
        simulation.sweep(2.8)
        if sweep >= 60 and sweep % 3 == 0:
            frames.append(simulation.x % edge)
    taken = np.array(frames)
    species = np.arange(2 * n_pairs) % 2
    found = osmotic_coefficient_from_virial(
        short_range_virial(taken, edge, species, ions, temperature),
        coulomb_energies(taken, edge, simulation.q, dielectric, accuracy=1e-4),
        n_ions=2 * n_pairs,
        temperature=temperature,
    )
    exact = virial_of(solve_hnc(ions, c))
    finite_size = 1 / (2 * 2 * n_pairs)
    assert found.standard_error < 0.02
    assert abs(found.value - exact) < 3 * found.standard_error + finite_size
