"""Warm-up, plateau, decay; and what of it is kept when the horizon changes."""

from __future__ import annotations

import pytest
import torch

from bjerrum.potential.schedule import WarmupStableDecay


def optimiser(*rates):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates]
    return torch.optim.SGD(groups)


def advance(schedule, n_steps):
    """Take steps; return the rates (first group) that were in force at each."""
    rates = []
    for _ in range(n_steps):
        rates.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return rates


def test_rate_follows_the_formula_from_the_first_step_to_the_last():
    rates = advance(WarmupStableDecay(optimiser(0.2), 4, 10, 20), 20)
    warm_up = [0.05, 0.10, 0.15, 0.20]
    decay = [0.2 * (20 - step) / 10 for step in range(10, 20)]
    assert rates == pytest.approx(warm_up + 6 * [0.2] + decay)


def test_rate_does_not_fall_below_a_hundredth():
    schedule = WarmupStableDecay(optimiser(1.0), 0, 1, 1000)
    assert schedule.factor(999) == schedule.factor(5000) == 0.01
    assert schedule.factor(0) == 1.0


def test_without_decay_the_plateau_lasts():
    assert set(advance(WarmupStableDecay(optimiser(0.5), 0, 6, 6), 6)) == {0.5}


def test_groups_keep_their_ratio():
    schedule = WarmupStableDecay(optimiser(0.2, 0.02), 4, 10, 20)
    for _ in range(20):
        advance(schedule, 1)
        fast, slow = (group["lr"] for group in schedule.optimizer.param_groups)
        assert fast == pytest.approx(10 * slow)


def test_state_is_taken_up_under_a_new_horizon():
    first = WarmupStableDecay(optimiser(0.2), 4, 10, 20)
    before = advance(first, 10)
    state = first.state_dict()
    assert state == {"last_epoch": 10}
    later = WarmupStableDecay(optimiser(0.2), 4, 15, 25)
    later.load_state_dict(state)
    undisturbed = advance(WarmupStableDecay(optimiser(0.2), 4, 15, 25), 25)
    assert before + advance(later, 15) == undisturbed
