"""The Pitzer fit against tabulated salts, Gibbs-Duhem by quadrature, and simulated errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad

from bjerrum.errors import InputError
from bjerrum.literature import (
    activity_derivative,
    mean_activity_coefficient,
    osmotic_coefficient,
    pitzer_parameters,
)
from bjerrum.literature.pitzer import PITZER_A_PHI
from bjerrum.properties.activity_fit import (
    DerivativePoint,
    debye_hueckel_slope,
    fit_activity,
)

MOLALITIES = (0.5, 1.0, 2.0, 3.0, 4.0)


def points(
    salt: str, error: float = 0.02, noise: np.ndarray | None = None
) -> list[DerivativePoint]:
    noise = np.zeros(len(MOLALITIES)) if noise is None else noise
    return [
        DerivativePoint(m, activity_derivative(salt, m) + x, error)
        for m, x in zip(MOLALITIES, noise, strict=True)
    ]


@pytest.mark.parametrize("salt", ["LiCl", "KCl", "CsCl", "NaBr"])
def test_exact_derivatives_give_back_the_salt(salt):
    fit = fit_activity(points(salt), PITZER_A_PHI)
    known = pitzer_parameters(salt)
    np.testing.assert_allclose(fit.values, [known.beta0, known.beta1, known.c_phi], rtol=1e-6)
    for m in (0.1, 1.3, 4.0):
        assert fit.osmotic_coefficient(m).value == pytest.approx(osmotic_coefficient(salt, m))
        expected = math.log(mean_activity_coefficient(salt, m))
        assert fit.ln_gamma(m).value == pytest.approx(expected)


def test_phi_and_gamma_are_the_integrals_of_the_fit():
    """phi = (1/m) int d ln a/d ln m dm and ln gamma = int (d ln a/d ln m - 1)/m dm."""
    noise = np.random.default_rng(1).normal(0, 0.02, len(MOLALITIES))
    fit = fit_activity(points("LiCl", noise=noise), PITZER_A_PHI)
    m = 3.3
    area = quad(lambda x: fit.dlna_dlnm(x).value, 0, m)[0]
    assert fit.osmotic_coefficient(m).value == pytest.approx(area / m, rel=1e-6)
    log = quad(lambda s: 2 * (fit.dlna_dlnm(s * s).value - 1) / s, 1e-9, math.sqrt(m))[0]
    assert fit.ln_gamma(m).value == pytest.approx(log, rel=1e-6)


def test_one_sigma_covers_the_truth_as_often_as_it_should():
    random = np.random.default_rng(2)
    covered = []
    for _ in range(300):
        fit = fit_activity(points("LiCl", 0.05, random.normal(0, 0.05, 5)), PITZER_A_PHI)
        phi, gamma = fit.osmotic_coefficient(3.0), fit.ln_gamma(1.0)
        covered += [
            abs(phi.value - osmotic_coefficient("LiCl", 3.0)) < phi.standard_error,
            abs(gamma.value - math.log(mean_activity_coefficient("LiCl", 1.0)))
            < gamma.standard_error,
        ]
    assert 0.62 < np.mean(covered) < 0.82  # wider where chi^2 exceeds its expectation


def test_scatter_beyond_the_errors_widens_them():
    noise = np.array([0.1, -0.1, 0.1, -0.1, 0.1])
    wide, narrow = (
        fit_activity(points("LiCl", 0.01, x), PITZER_A_PHI).osmotic_coefficient(2.0)
        for x in (noise, 0 * noise)
    )
    assert wide.standard_error > 5 * narrow.standard_error


def test_fewer_parameters_can_be_fitted():
    fit = fit_activity(points("LiCl")[2:4], PITZER_A_PHI, parameters=["c_phi", "beta0"])
    assert fit.names == ("beta0", "c_phi")
    assert fit.chi_squared is None
    assert fit.dlna_dlnm(2.0).value == pytest.approx(activity_derivative("LiCl", 2.0))


def test_the_limiting_law_is_fixed():
    fit = fit_activity(points("CsCl"), PITZER_A_PHI)
    m = 1e-6
    assert (fit.osmotic_coefficient(m).value - 1) / math.sqrt(m) == pytest.approx(
        -PITZER_A_PHI, rel=2e-3
    )
    assert fit.ln_gamma(m).value / math.sqrt(m) == pytest.approx(-3 * PITZER_A_PHI, rel=2e-3)


def test_the_slope_of_water_at_25_degrees():
    """0.3915 (Pitzer 1991, epsilon 78.38) and 0.3921 with epsilon 78.30."""
    assert debye_hueckel_slope(78.30, 997.05, 298.15) == pytest.approx(0.3921, abs=5e-5)
    assert debye_hueckel_slope(78.38, 997.05, 298.15) == pytest.approx(0.3915, abs=1e-4)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(InputError, match="3 parameters need as many molalities, got 2"):
        fit_activity(points("LiCl")[:2], PITZER_A_PHI)
    with pytest.raises(InputError, match="parameters are beta0"):
        fit_activity(points("LiCl"), PITZER_A_PHI, parameters=["beta2"])
    with pytest.raises(InputError, match="holds from 0 to 4"):
        fit_activity(points("LiCl"), PITZER_A_PHI).ln_gamma(6.0)
    with pytest.raises(InputError, match="positive standard error"):
        DerivativePoint(1.0, 1.0, 0.0)
    with pytest.raises(InputError, match="slope"):
        fit_activity(points("LiCl"), -1.0)
