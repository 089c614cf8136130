"""Kirkwood-Buff integrals against closed forms, naive sums and the published numbers."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.fft import dst

from bjerrum.errors import InputError, SeriesTooShort
from bjerrum.properties.kirkwood_buff import (
    Composition,
    electroneutral_inverse,
    electroneutrality_residual,
    inverse_derivatives,
    kirkwood_buff_integral,
    krueger_u1,
    krueger_u2,
    molal_factor,
    partial_molar_volumes,
    published_integral,
    tail_normalised,
    van_der_vegt,
)
from bjerrum.properties.kirkwood_buff_rdf import PartialRdfs, analyse_rdfs, read_partial_rdfs
from bjerrum.properties.kirkwood_buff_result import (
    BENCHMARK,
    ESTIMATORS,
    KirkwoodBuffResult,
    integrals_of,
    recommend,
)

DATA = Path(__file__).parents[2] / "shared" / "data" / "published"
RUNS = [DATA / f"licl_2.47M_rdf_nnp{model}_run{run}.csv" for model in (1, 2) for run in (1, 2)]
LICL = Composition(25.26, 24, 512)
PAIRS = ("cc", "ca", "aa", "co", "ao")

needs_data = pytest.mark.skipif(not RUNS[0].exists(), reason="the published RDFs are not here")


def grid(r_max: float, width: float = 0.01) -> np.ndarray:
    return np.arange(width / 2, r_max, width)


def noisy_rdfs(seed: int, r_max: float = 15.0) -> PartialRdfs:
    r, random = grid(r_max, 0.05), np.random.default_rng(seed)
    core = 1 / (1 + np.exp(-(r - 2.5) / 0.1))
    g = {p: core * (1 + 0.1 * np.sin(2 * r) / r + 0.02 * random.normal(size=len(r))) for p in PAIRS}
    return PartialRdfs(r, g)


@pytest.fixture(scope="module")
def runs() -> list[PartialRdfs]:
    return [read_partial_rdfs(path) for path in RUNS]


@pytest.fixture(scope="module")
def licl(runs) -> KirkwoodBuffResult:
    return analyse_rdfs(runs, LICL)


# --- closed forms ---


@pytest.mark.parametrize("kernel", ["cut", "u1", "u2"])
def test_an_ideal_gas_has_no_integral(kernel):
    r = grid(12.0)
    assert kirkwood_buff_integral(r, np.ones_like(r), 10.0, kernel) == 0.0
    empty = dict.fromkeys(PAIRS, 0.0)
    assert inverse_derivatives(empty, LICL) == (1.0, 1.0)


def test_a_step_gives_its_volume_weighted_by_the_kernel():
    r, size = grid(12.0, 0.002), 3.0
    g = np.where(r < size, 0.0, 1.0)
    x = size / 10.0
    exact = {
        "cut": 1.0,
        "u1": 1 - 3 / 6 * x**3,
        "u2": 1 - 3 * 23 / 8 / 6 * x**3 + 3 * 3 / 4 / 7 * x**4 + 3 * 9 / 8 / 8 * x**5,
    }
    for kernel, factor in exact.items():
        found = kirkwood_buff_integral(r, g, 10.0, kernel)
        assert found == pytest.approx(-4 / 3 * np.pi * size**3 * factor, rel=1e-5)


def test_kernels_vanish_at_the_end_and_start_flat():
    assert krueger_u1(np.array([0.0, 10.0]), 10.0).tolist() == [1.0, 0.0]
    np.testing.assert_allclose(krueger_u2(np.array([0.0, 10.0]), 10.0), [1.0, 0.0], atol=1e-15)


def test_the_last_shell_is_cut_within_a_bin():
    r = grid(12.0, 0.5)
    for r_max in (9.9, 10.0, 10.2):
        found = kirkwood_buff_integral(r, np.zeros_like(r), r_max, "cut")
        assert found == pytest.approx(-4 / 3 * np.pi * r_max**3, rel=1e-12)


def test_debye_hueckel_correlations_are_electroneutral():
    """h = -z z' l_B exp(-kappa r)/r: rho G_like = -1/2 = -rho G_unlike, so 1/A is 1."""
    box = Composition(60.0, 30)
    length = 7.15
    kappa = math.sqrt(8 * np.pi * length * box.salt_density)
    r = grid(60.0, 0.005)
    h = length * np.exp(-kappa * r) / r
    integrals = {
        pair: kirkwood_buff_integral(r, 1 + sign * h, 59.0, "cut")
        for pair, sign in (("cc", -1), ("aa", -1), ("ca", 1))
    }
    assert box.salt_density * integrals["cc"] == pytest.approx(-0.5, rel=1e-3)
    assert electroneutrality_residual(integrals, box) == pytest.approx(0.0, abs=1e-3)
    assert inverse_derivatives(integrals, box)[1] == pytest.approx(1.0, abs=1e-3)


def percus_yevick(density: float, r: np.ndarray) -> np.ndarray:
    """g(r) of hard spheres of diameter 1 (Wertheim 1963), by Fourier inversion of h(k)."""
    eta = np.pi * density / 6
    a = (1 + 2 * eta) ** 2 / (1 - eta) ** 4
    b = -6 * eta * (1 + eta / 2) ** 2 / (1 - eta) ** 4
    n, dr = 2**15, 0.005
    s = dr * np.arange(1, n)
    c = np.where(s < 1 + dr / 2, -(a + b * s + eta / 2 * a * s**3), 0.0)
    c[np.isclose(s, 1)] /= 2
    dk = np.pi / (n * dr)
    k = dk * np.arange(1, n)
    c_k = 2 * np.pi * dr / k * dst(c * s, type=1)
    indirect_k = density * c_k**2 / (1 - density * c_k)  # h - c: continuous at contact
    indirect = dk / (4 * np.pi**2 * s) * dst(indirect_k * k, type=1)
    return np.where(r < 1, 0.0, 1 + np.interp(r, s, indirect))


@pytest.mark.parametrize("density", [0.05, 0.2, 0.4])
def test_hard_spheres_have_the_compressibility_of_percus_yevick(density):
    """All three pairs alike: 1 + 2 rho G_CC = S(0) = (1 - eta)^4/(1 + 2 eta)^2."""
    r = grid(12.0, 0.005)
    g = percus_yevick(density, r)
    box = Composition((2 * 500 / density) ** (1 / 3), 500)
    integral = kirkwood_buff_integral(r, g, 10.0, "u2")
    found = inverse_derivatives({"cc": integral, "ca": integral, "aa": integral}, box)[1]
    eta = np.pi * density / 6
    assert found == pytest.approx((1 - eta) ** 4 / (1 + 2 * eta) ** 2, abs=0.002)


@pytest.mark.parametrize("like_n_minus_1", [True, False])
def test_van_der_vegt_makes_a_closed_ideal_gas_ideal(like_n_minus_1):
    r = grid(12.6, 0.05)
    raw = np.ones_like(r) if like_n_minus_1 else np.full_like(r, 23 / 24)
    found = van_der_vegt(r, raw, "cc", LICL, like_n_minus_1)
    np.testing.assert_allclose(found, 1.0, rtol=1e-5)
    np.testing.assert_allclose(van_der_vegt(r, np.ones_like(r), "co", LICL, False), 1.0)


def test_partial_volumes_fill_space_and_give_the_molal_factor():
    random = np.random.default_rng(3)
    integrals = {pair: float(20 * random.normal()) for pair in (*PAIRS, "oo")}
    salt, water = (v / 0.602214076 for v in partial_molar_volumes(integrals, LICL))
    assert LICL.salt_density * salt + LICL.water_density * water == pytest.approx(1.0)
    factor = molal_factor(salt * 0.602214076, LICL)
    assert factor == pytest.approx(LICL.water_density * water)


def test_partial_volume_of_an_ideal_mixture_is_that_of_a_particle():
    salt, water = partial_molar_volumes(dict.fromkeys((*PAIRS, "oo"), 0.0), LICL)
    each = LICL.volume / (2 * 24 + 512) * 0.602214076
    assert (salt, water) == pytest.approx((2 * each, each))


def test_both_routes_agree_where_the_ions_are_electroneutral():
    rho = LICL.salt_density
    integrals = {"ca": 90.0, "cc": 90.0 - 1 / rho, "aa": 90.0 - 1 / rho, "co": -8.0, "ao": -2.0}
    assert electroneutrality_residual(integrals, LICL) == pytest.approx(0)
    pressure, _ = inverse_derivatives(integrals, LICL)
    assert electroneutral_inverse(integrals, LICL) == pytest.approx(pressure)


# --- every estimator once more, as plainly as possible ---


def naive_integral(name: str, run: PartialRdfs, pair: str, box: Composition) -> float:
    r, g, half, dr = run.r, run.g[pair].copy(), box.edge / 2, run.r[1] - run.r[0]
    n = box.n_waters if pair[1] == "o" else box.n_pairs
    like = pair in ("cc", "aa")
    if name in ("published", "krueger_u1", "krueger_u2"):
        tail = [g[i] for i in range(len(r)) if half - 2 <= r[i] <= half + 2]
        g = g / (sum(tail) / len(tail))
    else:
        if like:
            g = g * (n - 1) / n
        corrected, excess = g.copy(), 0.0
        for i in range(len(r)):
            shell = 4 / 3 * np.pi * ((r[i] + dr / 2) ** 3 - (r[i] - dr / 2) ** 3)
            here = n / box.volume * (g[i] - 1) * shell
            f = 1 - 4 / 3 * np.pi * r[i] ** 3 / box.volume
            corrected[i] = g[i] * n * f / (n * f - (excess + here / 2) - like)
            excess += here
        g = corrected
    total = 0.0
    for i in range(len(r)):
        low, high = r[i] - dr / 2, min(r[i] + dr / 2, half)
        if low >= half:
            break
        x = min(r[i] / half, 1.0)
        weight = {
            "published": 1.0,
            "ganguly_vegt": 1.0,
            "krueger_u1": 1 - x**3,
            "krueger_u2": 1 - 23 / 8 * x**3 + 3 / 4 * x**4 + 9 / 8 * x**5,
            "vegt_u2": 1 - 23 / 8 * x**3 + 3 / 4 * x**4 + 9 / 8 * x**5,
        }[name]
        total += (g[i] - 1) * weight * 4 / 3 * np.pi * (high**3 - low**3)
    return total


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "structure_factor"])
def test_each_estimator_equals_its_definition(name):
    run = noisy_rdfs(1)
    found = integrals_of(name, run.r, run.g, LICL, like_n_minus_1=True)
    for pair in PAIRS:
        assert found[pair] == pytest.approx(naive_integral(name, run, pair, LICL), rel=1e-9)


def test_the_fourier_estimator_equals_a_fit_to_transforms():
    run = noisy_rdfs(2)
    found = integrals_of("structure_factor", run.r, run.g, LICL, like_n_minus_1=True)["ca"]
    h = van_der_vegt(run.r, run.g["ca"], "ca", LICL, True) - 1
    inside = run.r < LICL.edge / 2
    shells: dict[int, int] = {}
    for n in np.ndindex(7, 7, 7):
        square = sum((i - 3) ** 2 for i in n)
        shells[square] = shells.get(square, 0) + 1
    k, transforms, weights = [], [], []
    for square, multiplicity in sorted(shells.items()):
        length = 2 * np.pi / LICL.edge * math.sqrt(square)
        if 0 < length <= 0.8:
            edges = np.minimum([run.r - 0.025, run.r + 0.025], LICL.edge / 2)
            volumes = 4 / 3 * np.pi * (edges[1] ** 3 - edges[0] ** 3)
            sinc = np.sin(length * run.r) / (length * run.r)
            transforms.append((h * sinc * volumes)[inside].sum())
            k.append(length)
            weights.append(math.sqrt(multiplicity))
    fit = np.polyfit(np.square(k), transforms, 2, w=weights)
    assert found == pytest.approx(fit[-1], rel=0.01)


def test_derivatives_equal_their_definition():
    g = {"cc": -300.0, "aa": -320.0, "ca": 150.0, "co": -10.0, "ao": 5.0}
    rho = 24 / 25.26**3
    ions, water = (-300 - 320 + 2 * 150) / 4, (-10 + 5) / 2
    pressure, mu_w = inverse_derivatives(g, LICL)
    assert pressure == pytest.approx(1 + 2 * rho * (ions - water))
    assert mu_w == pytest.approx(1 + 2 * rho * ions)


def test_the_published_integral_is_the_sum_where_g_is_smooth():
    run = noisy_rdfs(4)
    smooth = 1 - np.exp(-(run.r**2) / 8)
    by_sum = kirkwood_buff_integral(
        run.r, tail_normalised(run.r, smooth, "ca", LICL, True), LICL.edge / 2, "cut"
    )
    assert published_integral(run.r, smooth, LICL) == pytest.approx(by_sum, rel=2e-3)


# --- published numbers ---


@needs_data
@pytest.mark.parametrize(
    ("path", "value"), zip(RUNS, ("1.607", "1.320", "2.233", "1.916"), strict=True), ids=str
)
def test_the_published_recipe_gives_the_published_digits(path, value):
    result = analyse_rdfs([read_partial_rdfs(path)], LICL)
    found = result.estimators["published"].dlna_dlnc
    assert f"{found.value:.3f}" == value
    assert found.standard_error is None
    with pytest.raises(SeriesTooShort, match="several runs"):
        found.estimate()


@needs_data
def test_averaged_runs_give_the_published_mean_and_the_benchmarked_estimators(licl):
    expected = {
        "published": ("1.699", "0.197"),
        "krueger_u2": ("1.59", "0.07"),
        "vegt_u2": ("1.62", "0.06"),
    }
    for name, (value, error) in expected.items():
        found = licl.estimators[name].dlna_dlnc
        digits = len(value) - 2
        assert f"{found.value:.{digits}f}" == value, name
        assert f"{found.standard_error:.{digits}f}" == error, name
    name, residual = licl.electroneutrality_residual
    assert name == "published"
    assert residual == pytest.approx(-0.05, abs=0.01)
    assert licl.recommended == "vegt_u2"
    assert set(licl.estimators) == set(ESTIMATORS)


@needs_data
def test_like_normalisation_is_found_out_or_asked_for(runs, licl):
    by_n = [
        PartialRdfs(run.r, {p: g * (23 / 24 if p in ("cc", "aa") else 1) for p, g in run.g.items()})
        for run in runs
    ]
    first, second = licl, analyse_rdfs(by_n, LICL)
    assert first.details["like_pairs_normalised_by"] == "(N-1)/V"
    assert second.details["like_pairs_normalised_by"] == "N/V"
    for name in ESTIMATORS:
        values = [r.estimators[name].dlna_dlnc.value for r in (first, second)]
        assert values[0] == pytest.approx(values[1], rel=2e-3), name
    mean = {pair: np.mean([run.g[pair] for run in runs], axis=0) for pair in PAIRS}
    wrong = inverse_derivatives(integrals_of("vegt_u2", runs[0].r, mean, LICL, False), LICL)[0]
    assert abs(wrong * first.estimators["vegt_u2"].dlna_dlnc.value - 1) > 0.15


def test_where_the_normalisation_cannot_be_told_only_its_users_are_left_out():
    run = noisy_rdfs(5)
    doubtful = {p: g * (1 + 0.5 / 23) if p in ("cc", "aa") else g for p, g in run.g.items()}
    smooth = {p: np.where(run.r < 8, g, g[run.r > 8].mean()) for p, g in doubtful.items()}
    level = smooth["ca"][-1]
    for pair in ("cc", "aa"):
        smooth[pair] = np.where(run.r < 8, smooth[pair], level * (1 + 0.5 / 23))
    result = analyse_rdfs([PartialRdfs(run.r, smooth)], LICL)
    assert set(result.unavailable) == {"ganguly_vegt", "vegt_u2", "structure_factor"}
    assert "cannot be told" in result.unavailable["vegt_u2"]
    assert "vegt_u2" not in result.estimators


# --- recommendation, molal scale, ions only ---


@needs_data
def test_the_recommended_estimator_follows_noise_and_bias(licl):
    estimators = dict(licl.estimators)
    noisy = estimators["vegt_u2"]
    estimators["vegt_u2"] = replace(noisy, dlna_dlnc=replace(noisy.dlna_dlnc, standard_error=0.5))
    estimators.pop("structure_factor")
    assert recommend(estimators, LICL) == "krueger_u2"
    exact = {n: replace(e, dlna_dlnc=replace(e.dlna_dlnc, standard_error=1e-9))
             for n, e in estimators.items()}  # fmt: skip
    least_biased = min(exact, key=lambda name: abs(1 / BENCHMARK[name][0][0] - 1 / 1.90))
    assert recommend(exact, LICL) == least_biased


@needs_data
def test_a_given_salt_volume_gives_the_molal_derivative(runs, licl):
    found = analyse_rdfs(runs[:1], LICL, salt_volume=19.0).estimators["vegt_u2"]
    molarity = 24 / 25.26**3 / 6.02214076e-4
    expected = found.dlna_dlnc.value * (1 - molarity * 0.019)
    assert found.dlna_dlnm.value == pytest.approx(expected)
    assert licl.estimators["vegt_u2"].dlna_dlnm is None


@needs_data
def test_ions_only_gives_mcmillan_mayer_alone():
    path = DATA / "nacl_classical_4M_rdf_all_atom.csv"
    run = read_partial_rdfs(path, ions_only=True)
    found = analyse_rdfs([run], Composition(29.8, 64)).estimators["krueger_u2"]
    assert found.dlna_dlnc is None
    assert 1.2 < found.dlna_dlnc_mcmillan_mayer.value < 1.6


# --- files ---


def write_csv(path: Path, columns: dict[str, np.ndarray]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def table(names: dict[str, str] | None = None) -> dict[str, np.ndarray]:
    run = noisy_rdfs(7)
    names = names or {pair: f"g_{pair}" for pair in PAIRS}
    return {"r_angstrom": run.r, **{names[pair]: run.g[pair] for pair in PAIRS}}


@pytest.mark.parametrize(
    "names",
    [
        {"cc": "g_LiLi", "ca": "g_LiCl", "aa": "g_ClCl", "co": "g_LiO", "ao": "g_ClO"},
        {"cc": "g_KK", "ca": "g_ClK", "aa": "g_ClCl", "co": "g_OK", "ao": "g_O-Cl"},
        {"cc": "g_CsCs", "ca": "g_Cs_I", "aa": "g_II", "co": "g_CsO", "ao": "g_IO"},
    ],
)
def test_columns_by_element_are_columns_by_role(tmp_path, names):
    run = read_partial_rdfs(write_csv(tmp_path / "a.csv", table(names)))
    expected = read_partial_rdfs(write_csv(tmp_path / "b.csv", table()))
    for pair in PAIRS:
        np.testing.assert_array_equal(run.g[pair], expected.g[pair])


def test_other_columns_are_left_alone_and_oxygen_pairs_are_used(tmp_path):
    columns = {**table(), "g_LiH": noisy_rdfs(7).r, "g_oo": np.ones(300), "note": np.ones(300)}
    run = read_partial_rdfs(write_csv(tmp_path / "a.csv", columns))
    assert set(run.g) == {*PAIRS, "oo"}
    found = analyse_rdfs([run], LICL).estimators["vegt_u2"]
    assert found.salt_volume is not None
    assert found.dlna_dlnm is not None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"g_co": None}, "g_co are missing"),
        ({"r_angstrom": None}, "expected a column r_angstrom"),
        ({"g_ca": "text"}, "expected numbers"),
        ({"r_angstrom": "uneven"}, "equally spaced"),
        ({"r_angstrom": "falling"}, "increase"),
    ],
)
def test_unusable_files_are_refused(tmp_path, change, words):
    columns = table()
    for name, kind in change.items():
        values = list(columns[name])
        if kind is None:
            del columns[name]
            continue
        if kind == "falling":
            values = values[::-1]
        elif kind == "uneven":
            values = [v**1.2 for v in values]
        else:
            values[5] = kind
        columns[name] = values
    with pytest.raises(InputError, match=words):
        read_partial_rdfs(write_csv(tmp_path / "bad.csv", columns))


@pytest.mark.parametrize("extra", ["g_ac", "g_LiLi", "g_ClO"])
def test_two_columns_of_one_pair_are_refused(tmp_path, extra):
    path = write_csv(tmp_path / "twice.csv", {**table(), extra: np.ones(300)})
    with pytest.raises(InputError, match=f"{extra} are both g_"):
        read_partial_rdfs(path)


def test_ragged_and_empty_files_are_refused(tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text("")
    with pytest.raises(InputError, match="header"):
        read_partial_rdfs(path)
    path.write_text("r_angstrom,g_cc\n" + "1,2\n" * 12 + "3\n")
    with pytest.raises(InputError, match="row 14: 1 cells"):
        read_partial_rdfs(path)
    path.write_bytes(b"\xff\xfe\x00" * 50)
    with pytest.raises(InputError, match="expected a CSV"):
        read_partial_rdfs(path)
    with pytest.raises(InputError, match="no such file"):
        read_partial_rdfs(tmp_path / "none.csv")


def test_boxes_that_do_not_fit_are_refused():
    run = noisy_rdfs(8)
    with pytest.raises(InputError, match="half the box"):
        analyse_rdfs([run], Composition(40.0, 24, 1500))
    with pytest.raises(InputError, match="times the density of water"):
        analyse_rdfs([run], Composition(12.0, 24, 512))
    with pytest.raises(InputError, match="two ion pairs"):
        Composition(25.0, 1, 512)
    with pytest.raises(InputError, match="positive"):
        Composition(-3.0, 24, 512)
    negative = PartialRdfs(run.r, {**run.g, "cc": run.g["cc"] - 1})
    with pytest.raises(InputError, match="negative"):
        analyse_rdfs([negative], LICL)
    holed = PartialRdfs(run.r, {**run.g, "ca": np.where(run.r > 9, np.nan, run.g["ca"])})
    with pytest.raises(InputError, match="g_ca must be a number"):
        analyse_rdfs([holed], LICL)
    endless = PartialRdfs(run.r, {**run.g, "ca": np.where(run.r > 9, np.inf, run.g["ca"])})
    with pytest.raises(InputError, match="g_ca must be a number"):
        analyse_rdfs([endless], LICL)
    nanometres = PartialRdfs(run.r / 10, run.g)
    with pytest.raises(InputError, match=r"half the box is needed: .* in angstrom"):
        analyse_rdfs([nanometres], LICL)
    halved = PartialRdfs(run.r, {**run.g, "ca": run.g["ca"] / 3})
    with pytest.raises(InputError, match="near 1"):
        analyse_rdfs([halved], LICL)


def test_what_lies_beyond_the_tail_does_not_matter():
    run = noisy_rdfs(8, r_max=20.0)
    beyond = run.r > 16
    changed = PartialRdfs(run.r, {p: np.where(beyond, np.nan, g) for p, g in run.g.items()})
    garbage = PartialRdfs(run.r, {p: np.where(beyond, -1e6, g) for p, g in run.g.items()})
    expected = analyse_rdfs([run], LICL).estimators
    for other in (changed, garbage):
        found = analyse_rdfs([other], LICL).estimators
        for name, estimator in expected.items():
            rel = 1e-3 if name == "published" else 1e-9
            assert found[name].dlna_dlnc.value == pytest.approx(estimator.dlna_dlnc.value, rel=rel)


def test_without_a_tail_the_published_recipe_is_left_out():
    run = noisy_rdfs(9, r_max=13.0)
    result = analyse_rdfs([run], LICL)
    assert set(result.unavailable) == {"published", "krueger_u1", "krueger_u2"}
    assert "tail" in result.unavailable["published"]
    assert result.electroneutrality_residual[0] == result.recommended


def test_runs_on_different_grids_are_refused():
    with pytest.raises(InputError, match="differ from those"):
        analyse_rdfs([noisy_rdfs(1), noisy_rdfs(1, 14.95)], LICL)
