"""What a convergence test measures, on labels whose noise, error and cost are known."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms

from bjerrum import convergence
from bjerrum.convergence import (
    DIFFERENCE_ANGSTROM,
    OFFSET,
    Measured,
    choose,
    chosen_settings,
    converge_frame,
    limit_of,
    variants_of,
    write_settings,
)
from bjerrum.errors import PhysicsCheckFailed
from bjerrum.reference.choose import cp2k_settings_of
from bjerrum.reference.cp2k_input import single_point_input
from bjerrum.reference.cp2k_settings import PUBLISHED, Cp2kSettings, published_in, resolved
from bjerrum.reference.egg_box import EggBox
from bjerrum.reference.label import Label, LabelStatus

BOX = ase.io.read(Path(__file__).parent / "data" / "cp2k" / "licl-8-waters.extxyz")
GRID = (120, 120, 120)
NO_LABEL = "SCF 1e-7"


class Synthetic:
    """Harmonic pairs of neighbours in the list, and waves on oxygen that finer grids lower."""

    name = "synthetic"

    def __init__(self, settings: Cp2kSettings, program: object = None) -> None:
        self.settings = settings

    def describe(self) -> dict:
        return {"settings": self.settings.hash}

    def check(self, atoms: Atoms) -> None:
        pass

    def calibration(self, frames):
        return []

    def refine(self, frames, calibration):
        return list(frames)

    def stop(self) -> None:
        pass

    def cost(self) -> float:
        return self.settings.cutoff_ry * self.settings.translations / 10

    def energy_and_forces(self, atoms: Atoms) -> tuple[float, np.ndarray]:
        strength = {"DZVP-MOLOPT-SR": 1.0}.get(self.settings.basis, 1.1)
        strength += 0.01 * (self.settings.smoothing != "none")
        vector = np.diff(atoms.positions, axis=0)
        forces = np.zeros_like(atoms.positions)
        forces[:-1] += strength * vector
        forces[1:] -= strength * vector
        amplitude = 0.3 / self.settings.cutoff_ry / self.settings.translations**2
        waves = EggBox("", GRID, tuple(BOX.cell.lengths()), {"O": (amplitude, 0, 0, 0)}, 0, 0)
        energy, egg = waves.error(atoms)
        return 0.5 * strength * float((vector**2).sum()) + energy, forces + egg

    def label(self, atoms: Atoms, folder: Path) -> Label:
        if self.settings.scf.tolerance == 1e-7:
            return Label(LabelStatus.SCF_NOT_CONVERGED, reason="as told")
        energy, forces = self.energy_and_forces(atoms)
        info = {
            "grid": list(GRID),
            "label_cpu_seconds": self.cost(),
            "net_force_mev_per_angstrom": 1e3 * float(np.linalg.norm(forces.sum(axis=0))),
        }
        return Label(LabelStatus.CONVERGED, energy, forces, info=info)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convergence, "Cp2kReference", Synthetic)
        return converge_frame(
            BOX,
            Cp2kSettings(),
            None,
            tmp_path_factory.mktemp("work"),
            target=10.0,
            jobs=2,
            announce=lambda *_: None,
        )


def rms(values: np.ndarray) -> float:
    return 1e3 * float(np.sqrt((values**2).mean()))


def two_labels(settings: Cp2kSettings) -> np.ndarray:
    moved = BOX.copy()
    moved.positions += np.array(OFFSET) * BOX.cell.lengths() / GRID
    reference = Synthetic(settings)
    return np.array([reference.energy_and_forces(atoms)[1] for atoms in (BOX, moved)])


def test_every_variant_is_measured_but_those_without_labels(result):
    names = [row["name"] for row in result["variants"]]
    base = resolved(Cp2kSettings(), 1)
    expected = ["limit", *(v.name for v in variants_of(base, BOX) if v.name != NO_LABEL)]
    assert names == expected
    assert len(set(names)) == len(names)


def test_noise_and_error_are_their_definitions(result):
    base = resolved(Cp2kSettings(), 1)
    settings = {v.name: v.settings for v in (limit_of(base), *variants_of(base, BOX))}
    limit = two_labels(settings["limit"]).mean(axis=0)
    oxygen = np.array(BOX.get_chemical_symbols()) == "O"
    for row in result["variants"]:
        forces = two_labels(settings[row["name"]])
        scatter = (forces[0] - forces[1]) / np.sqrt(2)
        assert row["noise"] == pytest.approx(rms(scatter), abs=1e-4), row["name"]
        assert row["error"] == pytest.approx(rms(forces.mean(axis=0) - limit), abs=1e-4)
        assert row["noise_of"]["O"] == pytest.approx(rms(scatter[oxygen]), abs=1e-4)
        assert row["noise_of"]["H"] == pytest.approx(0.0, abs=1e-4)
        assert row["cpu_seconds"] == Synthetic(settings[row["name"]]).cost()
    rows = {row["name"]: row for row in result["variants"]}
    assert rows["limit"]["error"] == pytest.approx(0.0, abs=1e-9)
    assert rows["one position on the grid"]["noise"] > 3 * rows["settings as given"]["noise"]


def test_the_cheapest_that_is_good_enough_is_chosen(result):
    good = [
        row
        for row in result["variants"]
        if row["error"] <= 10 and not row["systematic"] and row["name"] != "limit"
    ]
    assert len(good) > 3
    cheapest = min(good, key=lambda row: row["cpu_seconds"])
    assert result["chosen"] == cheapest["name"] != "settings as given"


def test_finite_differences_are_central(result):
    named = {v.name: v.settings for v in variants_of(resolved(Cp2kSettings(), 1), BOX)}
    reference = Synthetic(named[result["chosen"]])
    assert {row["element"] for row in result["finite_differences"]} == {"Cl", "H", "Li", "O"}
    for row in result["finite_differences"]:
        moved = [BOX.copy(), BOX.copy()]
        moved[0].positions[row["atom"], row["component"]] -= DIFFERENCE_ANGSTROM
        moved[1].positions[row["atom"], row["component"]] += DIFFERENCE_ANGSTROM
        energies = [reference.energy_and_forces(frame)[0] for frame in moved]
        slope = (energies[0] - energies[1]) / (2 * DIFFERENCE_ANGSTROM)
        force = reference.energy_and_forces(BOX)[1][row["atom"], row["component"]]
        assert row["difference"] == pytest.approx(slope, abs=1e-5)
        assert row["force"] == pytest.approx(force, abs=1e-7)


def test_chosen_settings_go_to_a_file_and_back(result, tmp_path):
    chosen = chosen_settings(Cp2kSettings(), BOX, result)
    row = next(row for row in result["variants"] if row["name"] == result["chosen"])
    assert chosen.noise_mev_per_angstrom == round(row["noise"], 2)
    path = tmp_path / "settings.toml"
    write_settings(path, chosen, result)
    assert cp2k_settings_of("dc-r2scan", path) == chosen
    text = path.read_text()
    for row in result["variants"]:
        assert f"# {row['name']}: " in text


def test_plain_exchange_is_tried_only_where_the_box_allows_it():
    """Below 13 angstrom its density seldom converges: truncated exchange stands in."""
    settings = resolved(Cp2kSettings(grid_correction="average"), 1)
    large = BOX.copy()
    large.set_cell(np.full(3, 13.1))
    for atoms, allowed in ((BOX, False), (large, True)):
        found = {v.name: v.settings for v in variants_of(settings, atoms)}
        full = [name for name, s in found.items() if s.exchange.operator == "full"]
        assert full == (["exchange operator 1/r", "published"] if allowed else [])
    small = published_in(6.5)
    assert small != PUBLISHED == published_in(13.0)
    assert small.model_copy(update={"exchange": PUBLISHED.exchange}) == PUBLISHED


def test_published_settings_survive_the_file(result, tmp_path):
    write_settings(tmp_path / "settings.toml", PUBLISHED, result)
    assert cp2k_settings_of("dc-r2scan", tmp_path / "settings.toml") == PUBLISHED


def test_a_limit_that_does_not_converge_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(convergence, "Cp2kReference", Synthetic)
    hopeless = Cp2kSettings(scf=Cp2kSettings().scf.model_copy(update={"tolerance": 1e-7}))
    options = {"target": 10.0, "jobs": 1, "announce": lambda *_: None}
    with pytest.raises(PhysicsCheckFailed, match="limit of the convergence test"):
        converge_frame(BOX, hopeless, None, tmp_path, **options)


def measured(name: str, cpu: float, error: float, systematic: bool = False) -> Measured:
    return Measured(name, systematic, cpu, error, error, {}, 0.0, 0.0)


ROWS = [
    measured("limit", 1000, 0.0),
    measured("settings as given", 100, 6.0),
    measured("cheap", 30, 40.0),
    measured("middle", 60, 9.0),
    measured("dear", 300, 2.0),
    measured("other basis", 10, 1.0, systematic=True),
]


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (50.0, "cheap"),
        (10.0, "middle"),
        (9.0, "middle"),
        (8.9, "settings as given"),
        (2.0, "dear"),
        (0.1, "dear"),
    ],
)
def test_choice(target, name):
    assert choose(ROWS, target).name == name


def test_variants_differ_from_the_chosen_settings_and_each_other():
    base = resolved(Cp2kSettings(), 1)
    variants = [limit_of(base), *variants_of(base, BOX)]
    assert variants[1].settings == base
    assert len({v.settings.hash for v in variants}) == len(variants)
    for variant in variants:
        assert single_point_input(BOX, variant.settings)
