"""Displacements and diffusion against random walks, whose answer and error are known."""

from __future__ import annotations

import numpy as np
import pytest

from bjerrum.errors import InputError, SeriesTooShort
from bjerrum.estimate import Estimate
from bjerrum.properties.diffusion import (
    NotDiffusive,
    diffusive_window,
    displacements,
    fit_diffusion,
    random_walk_covariance,
    slope_weights,
)
from bjerrum.properties.finite_size import (
    Viscosity,
    corrected_diffusion,
    finite_size_correction,
    viscosity_from_sizes,
)
from bjerrum.properties.msd import lag_grid, mean_squared_displacement, squared_displacements


def walk(random, n_frames, n_particles, diffusion=0.1, interval=0.1):
    """Random walk, angstrom; diffusion in angstrom^2/ps."""
    step = np.sqrt(2 * diffusion * interval)
    return np.cumsum(step * random.standard_normal((n_frames, n_particles, 3)), axis=0)


def test_displacements_equal_the_definition():
    x = walk(np.random.default_rng(0), 40, 3) + 1e3
    found = mean_squared_displacement(x)
    for lag in range(40):
        expected = ((x[lag:] - x[: 40 - lag]) ** 2).sum(axis=-1).mean(axis=0)
        np.testing.assert_allclose(found[lag], expected, atol=1e-9)
    lags, origins = np.array([1, 4, 15]), slice(5, 20)
    part = squared_displacements(x, lags, origins)
    for k, lag in enumerate(lags):
        starts = np.arange(5, min(20, 40 - lag))
        expected = ((x[starts + lag] - x[starts]) ** 2).sum(axis=-1).mean(axis=0)
        np.testing.assert_allclose(part[k], expected, atol=1e-9)


def test_uniform_motion():
    t = np.arange(50.0)
    x = (t[:, None] * np.array([1.0, 2.0, 2.0]))[:, None]
    np.testing.assert_allclose(mean_squared_displacement(x, 20)[:, 0], 9 * np.arange(21) ** 2)


def test_known_variance_of_a_random_walk():
    """Qian et al. (1991): the covariance of the curve, from 4000 walks."""
    random, lags = np.random.default_rng(1), np.array([1, 3, 8, 20])
    walks = np.cumsum(random.standard_normal((60, 4000, 3)), axis=0)
    found = squared_displacements(walks, lags, slice(0, 60))
    np.testing.assert_allclose(found.mean(axis=1), 3 * lags, rtol=0.02)
    np.testing.assert_allclose(np.cov(found), random_walk_covariance(lags, 60), rtol=0.12)
    # for t << T the relative variance is 4 t/(9 N T)
    long = random_walk_covariance(np.array([100]), 100_000)[0, 0] / (3 * 100) ** 2
    assert long == pytest.approx(4 * 100 / (9 * 100_000), rel=0.01)


def test_weights_give_slopes_and_beat_plain_least_squares():
    lags = np.arange(1, 21)
    weights, variance = slope_weights(lags, 400)
    assert weights @ (5 + 7.0 * lags) == pytest.approx(7.0)
    plain = np.linalg.pinv(np.stack([np.ones(20), lags], axis=1))[1]
    covariance = random_walk_covariance(lags, 400)
    assert variance == pytest.approx(weights @ covariance @ weights)
    assert variance < 0.5 * (plain @ covariance @ plain)


def test_coverage_and_known_error_of_random_walks():
    """1-sigma intervals hold the truth in 60 to 76 % of 200 series."""
    values, errors, model = [], [], []
    for seed in range(200):
        path = walk(np.random.default_rng(seed), 500, 16)
        found = fit_diffusion(displacements([path], 0.1))
        values.append(found.estimate.value)
        errors.append(found.estimate.standard_error)
        model.append(found.model_error)
    values, errors = np.array(values), np.array(errors)
    assert values.mean() == pytest.approx(1.0, abs=4 * values.std() / np.sqrt(200))
    assert np.mean(model) == pytest.approx(values.std(), rel=0.15)
    assert 0.60 <= (np.abs(values - 1.0) < errors).mean() <= 0.76


def test_runs_are_pooled():
    paths = [walk(np.random.default_rng(seed), 600, 8) for seed in (1, 2, 3)]
    alone = fit_diffusion(displacements(paths[:1], 0.1))
    together = fit_diffusion(displacements(paths, 0.1))
    assert together.curve.total.shape[1] == 24
    assert together.estimate.standard_error < 0.8 * alone.estimate.standard_error


def caged(random, n_frames, n_particles, relaxation=20.0, amplitude=0.25):
    """A walk plus motion in a cage: the curve is a + 6 D t only after the relaxation."""
    path = walk(random, n_frames, n_particles, interval=0.1)
    decay = np.exp(-1 / relaxation)
    cage = np.zeros_like(path)
    cage[0] = amplitude * random.standard_normal((n_particles, 3))
    noise = amplitude * np.sqrt(1 - decay**2) * random.standard_normal(path.shape)
    for t in range(1, n_frames):
        cage[t] = decay * cage[t - 1] + noise[t]
    return path + cage


def test_the_window_begins_after_the_cage_and_the_intercept_is_not_diffusion():
    path = caged(np.random.default_rng(7), 8000, 64)
    found = fit_diffusion(displacements([path], 0.1))
    assert found.window_ps[0] > 4.0
    assert abs(found.estimate.value - 1.0) < 3 * found.estimate.standard_error + 0.03
    naive = found.curve.mean[5] / (6 * found.curve.times_ps[5]) * 10
    assert naive > 1.2


def test_a_frozen_system_does_not_diffuse():
    random = np.random.default_rng(8)
    with pytest.raises(NotDiffusive, match="run longer"):
        diffusive_window(displacements([random.standard_normal((800, 30, 3))], 0.1))
    ballistic = np.arange(800)[:, None, None] * random.standard_normal((30, 3))
    with pytest.raises(NotDiffusive, match=r"local exponent there is 2\.00"):
        fit_diffusion(displacements([ballistic], 0.1))


def test_too_few_frames_are_refused():
    with pytest.raises(SeriesTooShort, match="at least 40 frames, got 30"):
        displacements([walk(np.random.default_rng(0), 30, 5)], 0.1)


def test_a_window_that_holds_too_little_is_refused():
    curve = displacements([walk(np.random.default_rng(0), 600, 12)], 0.1)
    with pytest.raises(InputError, match="at least 4 lags"):
        fit_diffusion(curve, window_ps=(5.0, 5.3))
    found = fit_diffusion(curve, window_ps=(1.0, 4.0))
    assert 0.95 <= found.window_ps[0] <= 1.2
    assert found.window_ps[1] <= 4.0


def test_langevin_fluid_einstein_equals_green_kubo():
    """Free Langevin particles: D = kT/(m gamma) from both the displacements and the velocities."""
    random = np.random.default_rng(9)
    n_frames, n, interval, friction = 8000, 60, 0.05, 2.0
    decay = np.exp(-friction * interval)
    v = np.zeros((n_frames, n, 3))
    v[0] = random.standard_normal((n, 3))
    x = np.zeros_like(v)
    # exact update of position and velocity (Chandrasekhar 1943)
    s_vv = 1 - decay**2
    s_xx = (2 * interval - (3 - 4 * decay + decay**2) / friction) / friction
    s_xv = (1 - decay) ** 2 / friction
    factor = np.linalg.cholesky(np.array([[s_xx, s_xv], [s_xv, s_vv]]))
    for t in range(1, n_frames):
        kick = np.einsum("ij,jnk->ink", factor, random.standard_normal((2, n, 3)))
        x[t] = x[t - 1] + v[t - 1] * (1 - decay) / friction + kick[0]
        v[t] = decay * v[t - 1] + kick[1]
    einstein = fit_diffusion(displacements([x], interval))
    lags = np.arange(120)
    correlation = np.array([(v[k:] * v[: n_frames - k]).sum(axis=-1).mean() / 3 for k in lags])
    green_kubo = np.trapezoid(correlation, dx=interval)
    error = einstein.estimate.standard_error / 10
    assert einstein.estimate.value / 10 == pytest.approx(1 / friction, abs=3 * error)
    assert einstein.estimate.value / 10 == pytest.approx(green_kubo, abs=4 * error)
    assert einstein.window_ps[0] > 2 / friction


def test_kinisi_agrees():
    """An independent Bayesian regression of the same walks (McCluskey et al. 2025)."""
    pytest.importorskip("kinisi")
    import scipp
    from kinisi.diffusion import Diffusion

    path, interval = walk(np.random.default_rng(11), 1000, 24), 0.1
    ours = fit_diffusion(displacements([path], interval), window_ps=(1.0, 10.0))
    lags = np.arange(10, 101, 10)
    squared = [((path[k:] - path[:-k]) ** 2).sum(axis=-1) for k in lags]
    independent = np.array([24 * 999 / k for k in lags])
    variance = np.array([s.var(ddof=1) for s in squared]) / independent
    theirs = Diffusion(
        scipp.DataGroup(
            {
                "da": scipp.DataArray(
                    scipp.Variable(
                        dims=["time interval"],
                        values=np.array([s.mean() for s in squared]),
                        variances=variance,
                        unit="angstrom^2",
                    ),
                    coords={
                        "time interval": scipp.array(
                            dims=["time interval"], values=lags * interval, unit="ps"
                        ),
                        "n_samples": scipp.array(dims=["time interval"], values=independent),
                    },
                ),
                "dimensionality": scipp.scalar(3),
            }
        )
    )
    theirs.bayesian_regression(
        scipp.scalar(1.0, unit="ps"), progress=False, random_state=np.random.RandomState(1)
    )
    diffusion = np.asarray(theirs.gradient.values) / 6 * 10
    assert ours.estimate.value == pytest.approx(
        diffusion.mean(), abs=1.5 * (diffusion.std() + ours.estimate.standard_error)
    )
    assert ours.model_error < 1.5 * diffusion.std()


def test_lag_grid():
    grid = lag_grid(500)
    assert grid[0] == 1
    assert grid[-1] == 500
    assert (np.diff(grid) > 0).all()
    np.testing.assert_array_equal(lag_grid(1), [1])


# --- finite size ---


def test_yeh_hummer_of_the_published_box():
    """0.278e-9 m2/s for 25.26 angstrom at 300 K with the viscosity of water, 0.888 mPa s."""
    assert finite_size_correction(300.0, 0.888, 25.26) == pytest.approx(0.278, abs=5e-4)
    assert finite_size_correction(300.0, 0.888, 21.6) == pytest.approx(0.325, abs=5e-4)
    assert finite_size_correction(300.0, 1.228, 25.26) == pytest.approx(0.201, abs=5e-4)


def test_the_error_of_the_viscosity_enters():
    raw = Estimate(value=1.0, standard_error=0.03, unit="1e-9 m2/s", n_effective=10)
    eta = Estimate(value=0.888, standard_error=0.0888, unit="mPa s", n_effective=10)
    found = corrected_diffusion(raw, 300.0, Viscosity(eta, "test", borrowed=False), 25.26)
    assert found.value == pytest.approx(1.278, abs=5e-4)
    assert found.standard_error == pytest.approx(np.hypot(0.03, 0.0278), rel=1e-2)
    assert found.provenance["viscosity_source"] == "test"


def test_viscosity_from_box_sizes():
    edges = [14.0, 20.0, 30.0]
    made = [
        Estimate(
            value=2.3 - finite_size_correction(300.0, 0.9, edge),
            standard_error=0.01,
            unit="1e-9 m2/s",
            n_effective=20,
        )
        for edge in edges
    ]
    limit, viscosity = viscosity_from_sizes(made, edges, 300.0)
    assert limit.value == pytest.approx(2.3)
    assert viscosity.estimate.value == pytest.approx(0.9)
    assert not viscosity.borrowed
    with pytest.raises(InputError, match="at least two sizes"):
        viscosity_from_sizes(made[:1], edges[:1], 300.0)
    with pytest.raises(InputError, match="beyond its error"):
        viscosity_from_sizes([made[0], made[0]], [14.0, 15.0], 300.0)
