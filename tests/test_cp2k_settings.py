"""Settings of labels: strict, hashed by what determines a label and by nothing else."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms

from bjerrum.errors import InputError
from bjerrum.reference.choose import cp2k_settings_of, reference_of
from bjerrum.reference.cp2k_input import exchange_range
from bjerrum.reference.cp2k_settings import (
    FRAMES_FOR_FIT,
    PUBLISHED,
    Cp2kSettings,
    ExchangeSpec,
    ScfSpec,
    resolved,
)
from bjerrum.specification import validate_spec

CUBE = Atoms("OH2", [[3, 3, 3], [3.96, 3, 3], [2.76, 3.93, 3]], cell=[6.0] * 3, pbc=True)


def settings(**data) -> Cp2kSettings:
    return validate_spec(data, Cp2kSettings, "label.toml")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"cutof_ry": 400.0}, ["cutof_ry", "cutoff_ry"]),
        ({"cutoff_ry": "400"}, ["cutoff_ry", "400"]),
        ({"cutoff_ry": True}, ["cutoff_ry"]),
        ({"cutoff_ry": float("nan")}, ["cutoff_ry"]),
        ({"cutoff_ry": float("inf")}, ["cutoff_ry"]),
        ({"cutoff_ry": 99.0}, ["cutoff_ry", "100"]),
        ({"cutoff_ry": 6000.0}, ["cutoff_ry", "5000"]),
        ({"rel_cutoff_ry": 0.0}, ["rel_cutoff_ry"]),
        ({"n_grids": 0}, ["n_grids"]),
        ({"n_grids": 4.0}, ["n_grids"]),
        ({"eps_default": 0.0}, ["eps_default"]),
        ({"eps_default": 1.0}, ["eps_default"]),
        ({"eps_default": -1e-8}, ["eps_default"]),
        ({"response_tolerance": float("nan")}, ["response_tolerance"]),
        ({"method": "pbe"}, ["method", "dc-r2scan", "pbe"]),
        ({"basis": "DZVP-MOLOPT-GTH\n&END"}, ["basis"]),
        ({"smoothing": "nn50"}, ["smoothing", "nn50"]),
        ({"translations": 3}, ["translations", "3"]),
        ({"grid_correction": "always"}, ["grid_correction"]),
        ({"noise_mev_per_angstrom": -1.0}, ["noise_mev_per_angstrom"]),
        ({"scf": {"method": "davidson"}}, ["scf.method"]),
        ({"scf": {"max_steps": 0}}, ["scf.max_steps"]),
        ({"scf": {"steps": 3}}, ["scf.steps", "max_steps"]),
        ({"exchange": {"operator": "shortrange"}}, ["exchange.operator"]),
        ({"exchange": {"range_angstrom": 0.0}}, ["exchange.range_angstrom"]),
        ({"exchange": {"range_angstrom": float("inf")}}, ["exchange.range_angstrom"]),
        ({"exchange": {"eps_schwarz": 0.0}}, ["exchange.eps_schwarz"]),
        ({"exchange": {"memory_mib": 0}}, ["exchange.memory_mib"]),
        ({"exchange": {"admm_correction": "pbex"}}, ["pbex", "full"]),
        ({"exchange": {"operator": "full", "range_angstrom": 3.0}}, ["range", "truncated"]),
        ({"exchange": "full"}, ["exchange", "table"]),
    ],
)
def test_wrong_settings_are_one_line(data, words):
    with pytest.raises(InputError) as error:
        settings(**data)
    message = str(error.value)
    assert message.startswith("label.toml: ")
    assert "\n" not in message.replace("\\n", "")
    for word in words:
        assert word in message


def test_a_file_of_settings_says_for_which_method_it_is(tmp_path):
    path = tmp_path / "label.toml"
    path.write_text('method = "r2scan"\ncutoff_ry = 500.0\n')
    assert cp2k_settings_of("r2scan", path).cutoff_ry == 500.0
    with pytest.raises(InputError, match="holds settings of r2scan, asked for dc-r2scan"):
        cp2k_settings_of("dc-r2scan", path)
    with pytest.raises(InputError, match="expected one of dc-r2scan, r2scan, classical, got 'pbe'"):
        reference_of("pbe", [CUBE])


def test_settings_do_not_change_after_they_are_made():
    with pytest.raises(ValueError, match="frozen"):
        Cp2kSettings().cutoff_ry = 100.0


CHANGES = {
    "method": "r2scan",
    "basis": "TZV2P-MOLOPT-SCAN",
    "cutoff_ry": 801.0,
    "rel_cutoff_ry": 41.0,
    "n_grids": 4,
    "eps_default": 1e-9,
    "smoothing": "nn10",
    "scf": ScfSpec(tolerance=1e-6),
    "exchange": ExchangeSpec(eps_schwarz=1e-5),
    "response_tolerance": 1e-9,
    "translations": 4,
    "subtract_net_force": True,
}
IGNORED = {"noise_mev_per_angstrom": 4.2, "grid_correction": "none"}


def test_every_setting_is_either_hashed_or_known_not_to_matter():
    assert CHANGES.keys() | IGNORED.keys() == Cp2kSettings.model_fields.keys()


@pytest.mark.parametrize("key", CHANGES)
def test_the_hash_follows_what_determines_a_label(key):
    assert Cp2kSettings(**{key: CHANGES[key]}).hash != Cp2kSettings().hash


def test_the_hash_follows_the_exchange():
    changed = [
        ExchangeSpec(operator="full"),
        ExchangeSpec(operator="full", admm_correction="pbex"),
        ExchangeSpec(range_angstrom=2.5),
        ExchangeSpec(range_angstrom=2.6),
    ]
    assert len({Cp2kSettings(exchange=e).hash for e in [ExchangeSpec(), *changed]}) == 5


@pytest.mark.parametrize("key", IGNORED)
def test_the_hash_ignores_what_is_known_afterwards_or_done_to_labels(key):
    assert Cp2kSettings(**{key: IGNORED[key]}).hash == Cp2kSettings().hash


def test_the_hash_ignores_memory():
    assert Cp2kSettings(exchange=ExchangeSpec(memory_mib=10)).hash == Cp2kSettings().hash


def test_the_hash_is_the_same_in_another_process():
    code = "from bjerrum.reference.cp2k_settings import *; print(PUBLISHED.hash)"
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert hashes == {PUBLISHED.hash}
    assert len(PUBLISHED.hash) == 16


def test_settings_survive_json():
    again = Cp2kSettings.model_validate_json(PUBLISHED.model_dump_json())
    assert again == PUBLISHED
    assert again.hash == PUBLISHED.hash


def test_published_settings():
    """arXiv:2310.12535: 1200/60 Ry, NN4, EPS_DEFAULT 1e-12, plain 1/r, nothing corrected."""
    assert (PUBLISHED.cutoff_ry, PUBLISHED.rel_cutoff_ry) == (1200.0, 60.0)
    assert (PUBLISHED.smoothing, PUBLISHED.eps_default) == ("nn4", 1e-12)
    assert (PUBLISHED.exchange.operator, PUBLISHED.exchange.admm_correction) == ("full", "pbex")
    assert resolved(PUBLISHED, 1) == PUBLISHED
    assert resolved(PUBLISHED, 1000) == PUBLISHED


@pytest.mark.parametrize("frames", [0, 1, FRAMES_FOR_FIT - 1])
def test_few_frames_are_averaged(frames):
    chosen = resolved(Cp2kSettings(), frames)
    assert chosen.grid_correction == "average"
    assert chosen.translations == 2
    assert chosen.subtract_net_force
    assert resolved(Cp2kSettings(translations=4), frames).translations == 4


@pytest.mark.parametrize("frames", [FRAMES_FOR_FIT, 100])
def test_many_frames_are_fitted(frames):
    chosen = resolved(Cp2kSettings(translations=2, subtract_net_force=True), frames)
    assert chosen.grid_correction == "fit"
    assert chosen.translations == 1
    assert not chosen.subtract_net_force


@pytest.mark.parametrize("correction", ["fit", "average", "none"])
def test_what_is_chosen_is_not_chosen_again(correction):
    chosen = resolved(Cp2kSettings(grid_correction=correction), 1)
    assert chosen.grid_correction == correction
    for frames in (1, 100):
        assert resolved(chosen, frames) == chosen
    assert resolved(chosen, 1).hash == chosen.hash


def test_fitted_and_averaged_labels_have_different_hashes():
    assert resolved(Cp2kSettings(), 1).hash != resolved(Cp2kSettings(), 100).hash


@pytest.mark.parametrize("edge", [4.0, 6.55, 9.7, 12.0, 13.87, 40.0])
def test_the_default_range_fits_every_box(edge):
    box = Atoms("He", cell=[edge] * 3, pbc=True)
    reach = exchange_range(box, Cp2kSettings())
    assert 0.45 * min(edge, 12.0) < reach <= edge / 2
    assert reach <= 6.0


def test_the_range_is_limited_by_the_height_of_an_oblique_cell():
    """A rhombohedral cell with angles of 60 degrees: height = edge * sqrt(2/3)."""
    cell = 8.0 / np.sqrt(2) * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    box = Atoms("He", cell=cell, pbc=True)
    limit = 8.0 * np.sqrt(2 / 3) / 2
    wide = Cp2kSettings(exchange=ExchangeSpec(range_angstrom=limit * 1.001))
    fits = Cp2kSettings(exchange=ExchangeSpec(range_angstrom=limit * 0.999))
    assert exchange_range(box, fits) == pytest.approx(limit * 0.999)
    with pytest.raises(InputError, match=r"half of the shortest cell height \(3\.27 angstrom\)"):
        exchange_range(box, wide)


def test_a_range_beyond_half_of_the_cell_is_one_line():
    with pytest.raises(InputError) as error:
        exchange_range(CUBE, Cp2kSettings(exchange=ExchangeSpec(range_angstrom=3.2)))
    assert str(error.value) == (
        "exchange range: expected at most half of the shortest cell height (3.00 angstrom), got "
        "3.2; lower exchange.range_angstrom or use a larger box"
    )
