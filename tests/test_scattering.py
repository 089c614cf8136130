"""Scattering against closed forms: shells, ideal gases, differences of totals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bjerrum.errors import InputError, SeriesTooShort
from bjerrum.properties.scattering import (
    combine_partials,
    first_difference_factors,
    form_factors,
    neutron_factors,
    pair_factors,
    q_grid,
    scattering_length,
    scattering_lengths,
    transform_matrix,
    xray_factors,
)
from bjerrum.properties.scattering_runs import (
    rdfs_of_files,
    rdfs_of_trajectories,
    scattering_curves,
)
from test_structure import chunk_of

DATA = Path(__file__).parents[2] / "shared" / "data" / "published"
RUNS = [DATA / f"licl_2.47M_rdf_nnp{model}_run{run}.csv" for model in (1, 2) for run in (1, 2)]
FRACTIONS = {"Li": 0.1, "Cl": 0.1, "O": 0.3, "H": 0.5}


def test_the_transform_of_a_shell():
    """g - 1 = delta(r - a): S - 1 = 4 pi rho a^2 sin(q a)/(q a) L(a) dr."""
    r = np.arange(0.005, 12.0, 0.01)
    q = q_grid(20.0, 100)
    pulse = np.zeros_like(r)
    pulse[300] = 1.0
    a = r[300]
    lorch = np.sin(np.pi * a / 12) / (np.pi * a / 12)
    expected = 4 * np.pi * 0.1 * a**2 * 0.01 * np.sin(q * a) / (q * a) * lorch
    np.testing.assert_allclose(transform_matrix(r, 12.0, 0.1, q) @ pulse, expected, rtol=1e-5)


def test_the_transform_of_a_gaussian():
    """int 4 pi r^2 exp(-r^2/2 s^2) sin(qr)/(qr) dr = (2 pi)^(3/2) s^3 exp(-q^2 s^2/2)."""
    r = np.arange(0.01, 60.0, 0.02)
    q = q_grid(6.0, 50)
    found = transform_matrix(r, 60.0, 0.05, q) @ np.exp(-(r**2) / 2)
    expected = 0.05 * (2 * np.pi) ** 1.5 * np.exp(-(q**2) / 2)
    np.testing.assert_allclose(found, expected, atol=0.01 * expected[0])


def test_scattering_lengths_are_those_of_the_tables():
    """Sears 1992 within its rounding; 6Li and the lithiums moved by up to 0.3 fm since."""
    tabulated = {"O": 5.803, "H": -3.739, "D": 6.671, "Cl": 9.577, "K": 3.67, "Na": 3.63}
    for nuclide, length in tabulated.items():
        assert scattering_length(nuclide) == pytest.approx(length, abs=0.03), nuclide
    assert scattering_length("6Li") == pytest.approx(2.0, abs=0.3)
    assert scattering_length("7Li") == pytest.approx(-2.22, abs=0.1)
    assert scattering_lengths(["O", "H"], {"H": "D"})["H"] > 6


def test_form_factors_start_at_the_number_of_electrons_and_fall():
    f = form_factors(["O", "H", "Cl"], np.array([1e-6, 2.0, 10.0]))
    for element, electrons in {"O": 8, "H": 1, "Cl": 17}.items():
        assert f[element][0] == pytest.approx(electrons, abs=0.03)
        assert (np.diff(f[element]) < 0).all()


def test_factors_sum_to_the_square_of_the_mean_amplitude():
    lengths = scattering_lengths(list(FRACTIONS))
    mean = sum(FRACTIONS[e] * lengths[e] for e in FRACTIONS)
    assert sum(pair_factors(FRACTIONS, lengths).values()) == pytest.approx(mean**2)
    assert sum(neutron_factors(FRACTIONS, lengths).values()) == pytest.approx(0.01 * mean**2)
    np.testing.assert_allclose(sum(xray_factors(FRACTIONS, q_grid(20, 9)).values()), 1.0)


def test_a_first_difference_is_the_difference_of_two_totals():
    random = np.random.default_rng(0)
    natural = scattering_lengths(list(FRACTIONS), {"H": "D"})
    partials = {pair: random.normal(size=7) for pair in pair_factors(FRACTIONS, natural)}
    totals = [
        combine_partials(
            neutron_factors(FRACTIONS, {**natural, "Li": scattering_length(n)}), partials
        )
        for n in ("6Li", "7Li")
    ]
    factors = first_difference_factors(FRACTIONS, natural, "Li", ("6Li", "7Li"))
    assert all("Li" in pair for pair in factors)
    needed = {pair: x for pair, x in partials.items() if "Li" in pair}
    np.testing.assert_allclose(combine_partials(factors, needed), totals[0] - totals[1])
    turned = {(b, a): x for (a, b), x in needed.items()}
    np.testing.assert_allclose(combine_partials(factors, turned), totals[0] - totals[1])


def solution(n_frames: int, seed: int = 0) -> object:
    random = np.random.default_rng(seed)
    symbols = ("Li",) * 6 + ("Cl",) * 6 + ("O", "H", "H") * 20
    return chunk_of(14.0 * random.random((n_frames, len(symbols), 3)), symbols, [14.0] * 3)


def test_an_ideal_gas_has_no_structure_within_its_error_bars():
    rdfs = rdfs_of_trajectories([[solution(300, seed)] for seed in range(2)])
    curves = scattering_curves(rdfs, difference=("Li", "6Li", "7Li"))
    assert set(curves) == {"neutron", "xray", "first_difference"}
    for name, curve in curves.items():
        deviation = curve.value / curve.standard_error
        assert 0.5 < np.sqrt(np.mean(deviation**2)) < 1.6, name
    assert rdfs.atomic_density == pytest.approx(72 / 14.0**3)
    assert sum(rdfs.fractions.values()) == pytest.approx(1)


@pytest.mark.skipif(not RUNS[0].exists(), reason="the published RDFs are not here")
def test_the_published_rdfs_give_the_difference_of_lithium_isotopes():
    """Back-transformed: Li-O and Li-D where Mason et al. (2015) have them."""
    rdfs = rdfs_of_files(RUNS, edge=25.26, n_pairs=24, n_waters=512)
    curves = scattering_curves(rdfs, isotopes={"H": "D"}, difference=("Li", "6Li", "7Li"))
    assert set(curves) == {"first_difference"}  # O-O, O-H and H-H are not in the files
    curve = curves["first_difference"]
    assert (curve.standard_error > 0).all()
    r = np.arange(1.5, 3.2, 0.01)
    step = curve.q[1] - curve.q[0]
    back = [(curve.value * np.sin(curve.q * x) * curve.q).sum() * step / x for x in r]
    tops = [i for i in range(1, len(r) - 1) if back[i - 1] < back[i] > back[i + 1]]
    highest = sorted(sorted(tops, key=lambda i: -back[i])[:2])
    np.testing.assert_allclose(r[highest], [1.96, 2.60], atol=0.06)
    with pytest.raises(InputError, match="O-O"):
        scattering_curves(rdfs)


def test_unusable_input_is_refused(tmp_path):
    for nuclide in ("9Li", "Xx", "Li7", ""):
        with pytest.raises(InputError, match="scattering length"):
            scattering_length(nuclide)
    with pytest.raises(InputError, match="no isotope"):
        scattering_lengths(["Li"], {"Li": "35Cl"})
    with pytest.raises(InputError, match="no Na among"):
        scattering_lengths(["Li"], {"Na": "Na"})
    with pytest.raises(InputError, match="alike"):
        first_difference_factors(FRACTIONS, scattering_lengths(list(FRACTIONS)), "Li", ("Li",) * 2)
    with pytest.raises(SeriesTooShort):
        rdfs_of_trajectories([[solution(1)]])
    with pytest.raises(InputError, match="q_max"):
        q_grid(-1.0)
    path = tmp_path / "rdf.csv"
    path.write_text("r_angstrom,g_cc\n" + "".join(f"{x / 10},1\n" for x in range(1, 99)))
    with pytest.raises(InputError, match="by element"):
        rdfs_of_files([path], edge=10.0, n_pairs=4, n_waters=80)
