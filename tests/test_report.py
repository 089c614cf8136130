"""The report page: what it shows is what the document holds, and nothing else."""

from __future__ import annotations

import base64
import errno
import hashlib
import html
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from decimal import Decimal
from difflib import SequenceMatcher
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bjerrum.errors import ExternalError, InputError
from bjerrum.estimate import Estimate
from bjerrum.report import (
    RunDocument,
    figures,
    page,
    read_document,
    render_report,
    report_run,
    rounding,
    write_rdf_figure,
    write_report,
)
from bjerrum.report.comparison import answer_sentence, checks_sentence, deviation, deviation_text
from bjerrum.report.document import Answer, EstimateDocument, Reference

Results = dict[str, Any]

LONG_NAME = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft-O"
HOSTILE = "<script>alert('x')</script><img src=http://evil.example/a.png onerror=alert(1)>"


def synthetic_rdf(peak: float, height: float, width: float, seed: int) -> Results:
    """A Gaussian first shell and a damped ripple: analytic, no simulation."""
    r = np.arange(0.025, 6.9, 0.05)
    core = 1 / (1 + np.exp(-(r - peak + 2 * width) / (0.35 * width)))
    shell = (height - 1) * np.exp(-(((r - peak) / width) ** 2))
    ripple = 0.35 * np.cos(2.2 * (r - peak)) * np.exp(-0.45 * (r - peak)) * (r > peak)
    g = np.maximum(core * (1 + ripple * (1 - np.exp(-(((r - peak) / width) ** 2)))) + shell, 0)
    error = 0.02 + 0.03 * np.sqrt(g)
    noise = np.random.default_rng(seed).normal(size=len(r)) * error * 0.4 * (g > 0.05)
    return {
        "r_angstrom": r.round(4).tolist(),
        "g": np.maximum(g + noise, 0).round(5).tolist(),
        "g_standard_error": error.round(5).tolist(),
    }


def synthetic_series(seed: int, n_frames: int = 3000) -> Results:
    """A kinetic temperature that relaxes to its target, and a potential energy with it."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_frames) * 0.005
    relaxation = np.exp(-time / 0.4)
    return {
        "replica": f"replica {seed}",
        "time_ps": time.round(6).tolist(),
        "kinetic_temperature_K": (298.15 - 60 * relaxation + 15.4 * rng.normal(size=n_frames))
        .round(3)
        .tolist(),
        "potential_energy_eV": (-39886.0 + 6 * relaxation + 0.9 * rng.normal(size=n_frames))
        .round(5)
        .tolist(),
    }


def estimate(value: float, error: float, unit: str, n_effective: float = 52.5) -> Results:
    return {"value": value, "standard_error": error, "unit": unit, "n_effective": n_effective}


MADE_UP = "A. Nobody and B. Nobody, Synthetic J. Test Data 1, 1 (1900)"


def reference(value: float, uncertainty: float | None, **more: Any) -> Results:
    return {
        "value": value,
        "uncertainty": uncertainty,
        "kind": "experiment",
        "citation": MADE_UP,
        "doi": "10.1234/synthetic.1",
        **more,
    }


def synthetic_answers() -> list[Results]:
    simulation = {"kind": "simulation", "conditions": "2.61 mol/kg, 300 K", "doi": None}
    return [
        {
            "quantity": "Li-O first peak",
            "unit": "angstrom",
            "headline": True,
            "estimate": estimate(1.96834, 0.01278, "angstrom"),
            "note": "parabola through the highest bins",
            "references": [
                reference(1.96, 0.02, conditions="neutron diffraction, 3 mol/kg, 298 K"),
                reference(1.9712, None, **simulation),
            ],
        },
        {
            "quantity": "Li-O coordination number",
            "unit": "1",
            "headline": True,
            "estimate": estimate(4.1834, 0.0513, "1", 17.25),
            "note": "integrated to the minimum at 2.82 Å",
            "references": [
                reference(4.9, 0.3, conditions="neutron diffraction, 3 mol/kg"),
                reference(4.18, 0.01, **simulation, status="digitised from a figure"),
            ],
        },
        {
            "quantity": "Cl-O first peak",
            "unit": "angstrom",
            "estimate": estimate(3.2174, 0.0067, "angstrom"),
            "references": [reference(3.1611, 0.0042)],
        },
        {
            "quantity": "Li-Cl coordination number",
            "unit": "1",
            "estimate": None,
            "reason": "no minimum found after the first peak: too few contact pairs in 12.5 ps",
            "references": [reference(0.045, None, **simulation)],
        },
        {
            "quantity": LONG_NAME,
            "unit": "1e-9 m2/s",
            "estimate": estimate(1.234567e15, 3.21e12, "1e-9 m2/s", 2.25),
            "references": [],
        },
        {
            "quantity": HOSTILE,
            "unit": "S/m",
            "estimate": estimate(-0.00004217, 0.00000961, "S/m"),
            "references": [reference(1.0e6, 2.0, citation=f"{HOSTILE} & Söhne, 数据 7 (1901)")],
        },
    ]


def synthetic_rdfs() -> Results:
    shapes = {
        "Li-O": (1.97, 9.5, 0.16),
        "Cl-O": (3.17, 3.25, 0.3),
        "Li-Cl": (2.37, 1.29, 0.25),
        "O-O": (2.79, 2.79, 0.25),
        "Li-H": (2.6, 4.4, 0.2),
        "Cl-H": (2.22, 2.8, 0.2),
    }
    rdfs = {
        pair: synthetic_rdf(*shape, seed=seed) for seed, (pair, shape) in enumerate(shapes.items())
    }
    marker = {"kind": "experiment", "citation": MADE_UP, "doi": "10.1234/synthetic.1"}
    rdfs["Li-O"]["markers"] = [
        {**marker, "r_angstrom": 1.96, "uncertainty_angstrom": 0.02, "conditions": "3 mol/kg"},
        {**marker, "r_angstrom": 1.99, "kind": "simulation", "doi": None},
    ]
    rdfs["Cl-O"]["markers"] = [
        {**marker, "r_angstrom": 3.1611, "uncertainty_angstrom": 0.07, "citation": HOSTILE}
    ]
    curve = synthetic_rdf(2.8, 2.57, 0.26, seed=99)
    rdfs["O-O"]["reference_curves"] = [
        {
            "label": "made-up curve",
            "kind": "experiment",
            "citation": MADE_UP,
            "r_angstrom": curve["r_angstrom"],
            "g": curve["g"],
        }
    ]
    return rdfs


def synthetic_checks() -> list[Results]:
    return [
        {
            "name": "mean kinetic temperature",
            "value": 0.41,
            "limit": 2.0,
            "unit": "K",
            "passed": True,
            "relation": "magnitude_at_most",
            "explanation": "The thermostat holds the temperature that was asked for.",
        },
        {
            "name": "energy drift at constant energy",
            "value": 0.734,
            "limit": 0.05,
            "unit": "meV/atom/ps",
            "passed": False,
            "relation": "at_most",
            "explanation": "Forces are no exact derivative of the energy, or the step is long.",
        },
        {
            "name": "committee spread",
            "value": None,
            "limit": 60.0,
            "unit": "meV/angstrom",
            "passed": False,
            "explanation": f"Only one model was at hand. {HOSTILE}",
        },
        {
            "name": "close contacts",
            "value": 0.0,
            "limit": 0.0,
            "unit": "1",
            "passed": True,
            "explanation": "Number of frames with atoms closer than any seen in training.",
        },
    ]


def synthetic_model() -> Results:
    steps = np.arange(1, 61)
    return {
        "name": "synthetic-1",
        "labels": "Analytic functions invented for this test; no electronic structure at all.",
        "n_train_frames": 528,
        "n_validation_frames": 66,
        "n_test_frames": 67,
        "test_force_rmse_meV_per_angstrom": {"all": 31.31, "O": 37.17, "H": 28.28, "Li": 22.63},
        "baseline_charges_e": {"Li": 1.0, "Cl": -1.0, "O": 0.0, "H": 0.0},
        "dielectric_constant": 78.304,
        "dataset_hash": "sha256:" + "0123456789abcdef" * 4,
        "code_version": "0.1.0+g1234567",
        "learning_curve": {
            "progress_name": "epoch",
            "progress": steps.astype(float).tolist(),
            "validation_force_rmse_meV_per_angstrom": (30 + 500 * np.exp(-steps / 7.0))
            .round(3)
            .tolist(),
        },
    }


def synthetic_results() -> Results:
    """A complete results document made of analytic functions, with awkward cases in it."""
    time = np.arange(400) * 0.005
    return {
        "schema_version": 1,
        "question": {
            "salt": "LiCl",
            "molality_mol_per_kg": 2.776,
            "molarity_mol_per_L": 2.489,
            "temperature_K": 298.15,
            "n_waters": 80,
            "n_pairs": 4,
            "n_atoms": 248,
            "box_edge_angstrom": 13.8674,
            "model": "synthetic-1",
        },
        "sampling": {
            "n_replicas": 2,
            "timestep_fs": 0.5,
            "equilibration_ps": 1.25,
            "production_ps": 13.75,
            "method": "NVT, Langevin (BAOAB)",
        },
        "answers": synthetic_answers(),
        "rdfs": synthetic_rdfs(),
        "time_series": {"skip_ps": 1.25, "replicas": [synthetic_series(1), synthetic_series(2)]},
        "nve": {
            "time_ps": time.round(6).tolist(),
            "total_energy_meV_per_atom": (0.734 * time + 0.02 * np.sin(40 * time)).tolist(),
            "drift_meV_per_atom_per_ps": 0.734,
            "timestep_fs": 0.25,
        },
        "checks": synthetic_checks(),
        "model": synthetic_model(),
        "constants": [
            {
                "name": "Dielectric constant of water",
                "value": 78.304,
                "unit": "1",
                "source": "C. Malmberg and A. Maryott, J. Res. Natl. Bur. Stand. 56, 1 (1956)",
                "doi": "10.6028/jres.056.001",
            },
            {
                "name": "Density model",
                "value": "five parameters",
                "unit": "kg/m3",
                "source": f"made up, see {HOSTILE}",
                "doi": "",
            },
        ],
        "caveats": [
            "Nuclei are classical: zero-point motion of hydrogen is missing.",
            f"Names may be hostile: {HOSTILE}",
            "Ünïcödé: Ångström, 水, Δ, “quotes”.",
        ],
        "cost": {
            "steps": [
                {"name": "build the box", "wall_seconds": 12.34, "reused": True},
                {"name": "molecular dynamics", "wall_seconds": 481.6},
            ],
            "md_steps": 60123,
            "atom_steps_per_second": 31456.7,
            "peak_memory_MiB": 1834.5,
        },
        "reproduce": {
            "command": "bjerrum run examples/licl.toml",
            "config_toml": 'salt = "LiCl"\nmolality_mol_per_kg = 2.776\n# <b>bold</b> & 100 %\n',
            "versions": {"bjerrum": "0.1.0", "torch": "2.13.0"},
            "seeds": {"dynamics": 20240917},
            "step_hashes": {"box": "a" * 64, "dynamics": "b" * 64},
        },
    }


class PageReader(HTMLParser):
    """What a browser would load, run and show."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.words: list[str] = []
        self._inside: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = [tag] if tag in ("script", "style") else []
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))

    def handle_endtag(self, tag: str) -> None:
        self._inside = []

    def handle_data(self, data: str) -> None:
        if self._inside == ["script"]:
            kind, code = self.scripts[-1]
            self.scripts[-1] = (kind, code + data)
        elif not self._inside:
            self.words.append(data)

    @property
    def visible(self) -> str:
        return " ".join(" ".join(self.words).split())

    def attributes(self, name: str) -> list[str]:
        return [found for _, attributes in self.elements if (found := attributes.get(name))]


@pytest.fixture(scope="module")
def results() -> Results:
    return synthetic_results()


@pytest.fixture(scope="module")
def text(results: Results) -> str:
    return render_report(read_document(results))


@pytest.fixture(scope="module")
def reader(text: str) -> PageReader:
    return PageReader(text)


def changed(results: Results, path: str, value: Any) -> Results:
    """Return a copy of the document with one leaf replaced; ``path`` is dotted."""
    copied = json.loads(json.dumps(results))
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    target = copied
    for key in parents:
        target = target[key]
    target[last] = value
    return copied


# Rounding


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (1.96834, 0.01278, "1.968 ± 0.013"),
        (9.5, 0.0996, "9.50 ± 0.10"),
        (12345.6, 1234.0, "12300 ± 1200"),
        (-0.0001, 0.3, "0.00 ± 0.30"),
        (-2.5, 0.25, "−2.50 ± 0.25"),
        (1.23456e15, 3.2e12, "(1.2346 ± 0.0032) × 10¹⁵"),
        (3e-7, 2e-8, "(3.00 ± 0.20) × 10⁻⁷"),
        (1e-7, 5.0, "0.0 ± 5.0"),
        (4.0, 0.0, "4 ± 0"),
        (0.0, 0.0, "0 ± 0"),
        (1e300, 1e-10, "1 × 10³⁰⁰ ± 1 × 10⁻¹⁰"),
    ],
)
def test_value_is_rounded_to_its_error(value: float, error: float, expected: str) -> None:
    assert rounding.with_error(value, error).replace("\xa0", " ") == expected


@settings(deadline=None, derandomize=True)
@given(
    value=st.floats(-1e8, 1e8, allow_nan=False),
    exponent=st.integers(-6, 6),
    mantissa=st.floats(1.0, 9.99),
)
def test_rounding_loses_at_most_half_a_digit(value: float, exponent: int, mantissa: float) -> None:
    error = mantissa * 10.0**exponent
    text = rounding.with_error(value, error).replace("\xa0", "").replace("−", "-")
    found = re.fullmatch(r"\(?(-?[\d.]+)±([\d.]+)\)?(?: ×10(.*))?", text)
    assert found is not None
    back = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
    shift = int((found[3] or "0").translate(back))
    shown, shown_error = (Decimal(part).scaleb(shift) for part in found.groups()[:2])
    digits = str(Decimal(found[2]).normalize().as_tuple().digits)
    last_place = Decimal(10) ** (Decimal(f"{Decimal(error):.1e}").adjusted() - 1)
    assert abs(shown - Decimal(value)) <= last_place / 2
    assert abs(shown_error - Decimal(error)) <= last_place / 2
    assert len(eval(digits)) <= 2
    assert len(found[1].partition(".")[2]) == len(found[2].partition(".")[2])


def test_published_values_gain_no_digits() -> None:
    assert rounding.published(4.9, 0.3) == "4.9\xa0±\xa00.3"
    assert rounding.published(1.9612, 0.023) == "1.961\xa0±\xa00.023"
    assert rounding.published(1.9612, None) == "1.9612"


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("angstrom", "1.5 ± 0.1 Å"),
        ("1", "1.5 ± 0.1"),
        ("1e-9 m2/s", "(1.5 ± 0.1) × 10⁻⁹ m²/s"),
        ("kJ mol-1", "1.5 ± 0.1 kJ mol⁻¹"),
        ("meV/angstrom", "1.5 ± 0.1 meV/Å"),
        ("H2O per Li", "1.5 ± 0.1 H2O per Li"),
    ],
)
def test_units(unit: str, expected: str) -> None:
    assert rounding.with_unit("1.5 ± 0.1", unit).replace("\xa0", " ") == expected


def test_numbers_and_names() -> None:
    assert rounding.number(60123) == "60\u202f123"
    assert rounding.number(31456.7, 3) == "31\u202f500"
    assert rounding.number(298.15) == "298.15"
    assert rounding.number(-1.5e-7) == "−1.5 ×\xa010⁻⁷"
    assert rounding.formula_text("CaCl2") == "CaCl₂"
    assert rounding.pair_text("Li-O first peak, r-cut") == "Li–O first peak, r-cut"
    assert rounding.signed(0.5, 0.1) == "+0.50"
    assert rounding.signed(-0.001, 0.1) == "0.00"


# Comparison with published values


def compare(value: float, error: float, published: float, uncertainty: float | None) -> Any:
    ours = EstimateDocument(value=value, standard_error=error, unit="1", n_effective=10.0)
    theirs = Reference(value=published, uncertainty=uncertainty, kind="experiment", citation="x")
    return ours, theirs


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [(9.9, "agrees"), (-9.9, "agrees"), (12.0, "borderline"), (-15.5, "disagrees")],
)
def test_deviation_is_in_combined_standard_errors(difference: float, verdict: str) -> None:
    found = deviation(*compare(100 + difference, 3.0, 100.0, 4.0))
    assert found.sigmas == pytest.approx(difference / 5)
    assert found.verdict == verdict


def test_marks_differ_in_shape() -> None:
    marks = [deviation(*compare(100 + d, 3.0, 100.0, 4.0)).mark for d in (0, 12, 20)]
    marks.append(deviation(*compare(100, 3.0, 100.0, None)).mark)
    assert len(set(marks)) == 4


def test_without_a_published_uncertainty_only_the_difference_is_shown() -> None:
    pair = compare(1.9683, 0.0128, 1.96, None)
    assert deviation(*pair).sigmas is None
    assert deviation(*pair).verdict == "not judged"
    assert deviation_text(*pair) == "+0.008"


def test_honest_error_bars_agree_in_95_percent_of_cases() -> None:
    rng = np.random.default_rng(5)
    ours, theirs = rng.normal(7.0, 0.3, 2000), rng.normal(7.0, 0.4, 2000)
    verdicts = [
        deviation(*compare(a, 0.3, b, 0.4)).verdict for a, b in zip(ours, theirs, strict=True)
    ]
    assert 0.94 < verdicts.count("agrees") / 2000 < 0.97
    assert verdicts.count("disagrees") / 2000 < 0.006


def test_sentences(results: Results) -> None:
    document = read_document(results)
    sentence = answer_sentence(document).replace("\xa0", " ")
    assert sentence == (
        "In LiCl solution at 2.776 mol/kg and 298.15 K, the Li–O first peak is 1.968 ± 0.013 Å "
        "(experiment: 1.96 ± 0.02 Å); the Li–O coordination number is 4.183 ± 0.051 "
        "(experiment: 4.9 ± 0.3)."
    )
    assert checks_sentence(document).startswith("2 of 4 checks FAILED (energy drift")
    nothing = read_document(changed(results, "checks", []))
    assert "nothing on this page has been tested" in checks_sentence(nothing)
    unanswered = [answer for answer in results["answers"] if answer["estimate"] is None]
    lost = read_document(changed(results, "answers", unanswered))
    assert "determined none of the quantities" in answer_sentence(lost)


# The document


def test_document_survives_a_round_trip_through_json(results: Results, text: str) -> None:
    document = read_document(results)
    again = RunDocument.model_validate(json.loads(json.dumps(results)))
    assert again == document
    assert render_report(RunDocument.model_validate_json(document.model_dump_json())) == text


def test_document_takes_estimates_as_they_are_written() -> None:
    measured = Estimate(
        value=4.2, standard_error=0.1, unit="1", n_effective=20.0, provenance={"method": "blocks"}
    )
    answer = Answer.model_validate({"quantity": "n", "unit": "1", "estimate": measured.to_json()})
    assert answer.estimate is not None
    assert answer.estimate.value == 4.2


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("colour", "red", "colour"),
        ("question.salt", 7, "question.salt"),
        ("question.temperature_K", -1.0, "question.temperature_K"),
        ("question.temperature_K", "298", "question.temperature_K"),
        ("question.box_edge_angstrom", float("nan"), "question.box_edge_angstrom"),
        ("answers.0.estimate.standard_error", -0.1, "standard_error"),
        ("answers.0.estimate.unit", "nm", "'Li-O first peak' is in angstrom"),
        ("answers.3.reason", None, "needs a reason"),
        ("answers.0.references.0.kind", "guess", "references.0.kind"),
        ("answers.0.references.0.doi", "http://evil.example", "references.0.doi"),
        ("rdfs.Li-O.g", [1.0, 2.0], "equal lengths"),
        ("rdfs.Li-O.r_angstrom.5", 99.0, "must increase"),
        ("time_series.replicas.0.time_ps", [0.0], "equal lengths"),
        ("checks.1.passed", True, "'energy drift at constant energy' says passed = True"),
        ("checks.2.passed", True, "'committee spread' has no value"),
        ("schema_version", 2, "schema_version"),
    ],
)
def test_a_broken_document_is_refused_in_one_line(
    results: Results, path: str, value: Any, complaint: str
) -> None:
    with pytest.raises(InputError) as caught:
        read_document(changed(results, path, value))
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


# The page


def test_page_loads_nothing(reader: PageReader, text: str) -> None:
    loading = {"img", "link", "iframe", "object", "embed", "video", "audio", "base", "source"}
    assert not loading & {tag for tag, _ in reader.elements}
    assert reader.attributes("src") == []
    assert reader.attributes("srcset") == []
    targets = set(reader.attributes("href"))
    assert all(target.startswith(("#", "https://doi.org/10.")) for target in targets)
    assert "https://doi.org/10.6028/jres.056.001" in targets
    stylesheet = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in stylesheet
    assert "@import" not in stylesheet


def test_policy_admits_the_two_embedded_scripts_and_nothing_else(reader: PageReader) -> None:
    policy = next(
        attributes["content"] or ""
        for tag, attributes in reader.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    executable = [code for kind, code in reader.scripts if kind is None]
    assert len(executable) == 2
    for code in executable:
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert not any(
        name.startswith("on") for _, attributes in reader.elements for name in attributes
    )


def test_plotly_is_embedded_once(reader: PageReader) -> None:
    assert sum(len(code) > 1_000_000 for _, code in reader.scripts) == 1


def test_hostile_text_is_shown_and_not_obeyed(reader: PageReader, text: str) -> None:
    assert reader.visible.count(HOSTILE) >= 5
    assert "<script>alert" not in text
    assert "evil.example" not in " ".join(reader.attributes("href"))
    data = [code for kind, code in reader.scripts if kind == "application/json"]
    assert len(data) == 9
    assert not any("<" in code for code in data)
    hover = json.loads(data[1])["data"][-1]["text"][0]
    assert "&lt;script&gt;" in hover
    assert HOSTILE.replace(" ", "") in html.unescape(re.sub("<br>| ", "", hover))


def test_same_document_gives_the_same_bytes(results: Results, tmp_path: Path) -> None:
    first = write_report(results, tmp_path / "first.html").read_bytes()
    assert write_report(results, tmp_path / "second.html").read_bytes() == first
    stored = tmp_path / "results.json"
    stored.write_text(json.dumps(results))
    program = (
        "import sys, pathlib; from bjerrum.report import report_run; "
        "report_run(pathlib.Path(sys.argv[1]))"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"},
    )
    assert (tmp_path / "report.html").read_bytes() == first


def test_page_of_a_long_run_can_be_mailed(results: Results, tmp_path: Path) -> None:
    long_run = {**results, "time_series": {"skip_ps": 1.0, "replicas": []}}
    long_run["time_series"]["replicas"] = [synthetic_series(seed, 20_000) for seed in range(8)]
    assert write_report(long_run, tmp_path / "long.html").stat().st_size < 8_000_000


def test_page_can_be_read_by_everyone(reader: PageReader) -> None:
    tags = [tag for tag, _ in reader.elements]
    levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert tags.count("caption") == tags.count("table") > 3
    identifiers = reader.attributes("id")
    assert len(set(identifiers)) == len(identifiers)
    assert {target[1:] for target in reader.attributes("href") if target[0] == "#"} <= set(
        identifiers
    )
    plots = [attributes for _, attributes in reader.elements if "data-figure" in attributes]
    assert len(plots) == 9
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in plots)
    assert dict(reader.elements)["html"] == {"lang": "en"}
    assert all("scope" in attributes for tag, attributes in reader.elements if tag == "th")


def test_awkward_cases_are_said_in_words(reader: PageReader) -> None:
    shown = reader.visible
    assert "not determined no minimum found after the first peak" in shown
    assert "no published value at hand" in shown
    assert shown.count("FAIL") >= 3
    assert "✓ PASS" in shown
    assert "✗ FAIL" in shown
    assert "not measured" in shown
    assert "only about 2.2 independent samples: the error bar is rough" in shown
    assert LONG_NAME in shown
    assert "reference has no error bar" in shown
    assert "digitised from a figure" in shown
    assert "Ünïcödé: Ångström, 水, Δ, “quotes”." in shown


def test_an_empty_document_has_a_page(results: Results) -> None:
    nothing = {"answers": [], "rdfs": {}, "checks": [], "constants": [], "caveats": []}
    none = {"sampling": None, "time_series": None, "nve": None}
    model = {**results["model"], "learning_curve": None, "test_force_rmse_meV_per_angstrom": {}}
    empty = {**results, **nothing, **none, "model": model}
    reader = PageReader(render_report(read_document(empty)))
    assert "No checks were made" in reader.visible
    assert reader.attributes("data-figure") == []


# Every number of the page is the document's, and every number of the document is on the page


def scalars(node: Any, path: str = "") -> Iterator[tuple[str, float | int]]:
    """Yield every number of the document outside arrays of numbers, with its dotted path."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from scalars(value, f"{path}.{key}" if path else key)
    elif isinstance(node, list) and not (node and isinstance(node[0], float)):
        for index, value in enumerate(node):
            yield from scalars(value, f"{path}.{index}")
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield path, node


def without_digits(node: Any, key: str = "") -> Any:
    """Return the document with every text freed of digits."""
    if isinstance(node, dict):
        return {name: without_digits(value, name) for name, value in node.items()}
    if isinstance(node, list):
        return [without_digits(value, key) for value in node]
    if isinstance(node, str):
        if key == "doi":
            return None
        return node if key == "unit" else re.sub(r"\d+", "", node) or "none"
    return node


def other_number(value: float | int, index: int) -> float | int:
    factor = 1.0 + 0.013 * (index % 23 + 1)
    return int(value * factor) + 1 if isinstance(value, int) else (value or 0.37) * factor


@pytest.fixture
def plain(results: Results, monkeypatch: pytest.MonkeyPatch) -> Results:
    """A document with short arrays and no digits in its texts; plotly's code is left out."""
    monkeypatch.setattr(page, "get_plotlyjs", lambda: "")
    short = without_digits(results)
    short["time_series"]["replicas"] = [synthetic_series(1, 3)]
    short["rdfs"] = {"Li-O": without_digits(synthetic_rdfs()["Li-O"])}
    return short


def shown(results: Results) -> str:
    return PageReader(render_report(read_document(results))).visible


def test_no_number_of_the_page_is_invented(plain: Results) -> None:
    other = plain
    for index, (path, value) in enumerate(list(scalars(plain))):
        if path != "schema_version":
            other = changed(other, path, other_number(value, index))
    one, two = shown(plain).split(), shown(other).split()
    matched = SequenceMatcher(None, one, two, autojunk=False).get_matching_blocks()
    common = [word for start, _, length in matched for word in one[start : start + length]]
    fixed = {word for word in common if re.search(r"\d", word)}
    powers_of_ten = {word for word in fixed if re.fullmatch("10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+", word)}
    thresholds, counts = {"2", "3", "3)"}, {"1", "(2", "4"}
    assert len(common) > 300
    assert fixed - powers_of_ten <= thresholds | counts


def test_every_number_of_the_document_is_on_the_page(
    plain: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = page.page_environment()
    monkeypatch.setattr(page, "page_environment", lambda: environment)
    drawn = page._figures(read_document(plain))
    monkeypatch.setattr(page, "_figures", lambda document: drawn)
    before = shown(plain)
    silent = [
        path
        for index, (path, value) in enumerate(list(scalars(plain)))
        if path != "schema_version"
        and shown(changed(plain, path, other_number(value, index))) == before
    ]
    assert silent == []


# Figures


def decode(array: Any) -> np.ndarray:
    if isinstance(array, list):
        return np.asarray(array, dtype=float)
    return np.frombuffer(base64.b64decode(array["bdata"]), dtype=array["dtype"])


def test_rdf_panels_draw_the_stored_curves(results: Results) -> None:
    document = read_document(results)
    panels = figures.rdf_figures(document.rdfs)
    assert [panel.title for panel in panels][:2] == ["Li–O", "Cl–O"]
    for panel, rdf in zip(panels, document.rdfs.values(), strict=True):
        band, line = json.loads(panel.plotly_json)["data"][:2]
        np.testing.assert_array_equal(decode(line["x"]), rdf.r_angstrom)
        np.testing.assert_array_equal(decode(line["y"]), rdf.g)
        upper = decode(band["y"])[: len(rdf.g)]
        np.testing.assert_allclose(upper, np.add(rdf.g, rdf.g_standard_error))
    layouts = [json.loads(panel.plotly_json)["layout"]["xaxis"] for panel in panels]
    assert len({tuple(layout["range"]) for layout in layouts}) == 1
    assert layouts[0]["title"]["text"] == "r / Å"


def test_published_peaks_stand_where_they_were_published(results: Results) -> None:
    panel = figures.rdf_figures(read_document(results).rdfs)[0]
    symbols = [
        trace for trace in json.loads(panel.plotly_json)["data"] if trace.get("mode") == "markers"
    ]
    assert [trace["x"] for trace in symbols] == [[1.96], [1.99]]
    assert symbols[0]["y"] != symbols[1]["y"]
    assert len({trace["marker"]["symbol"] for trace in symbols}) == 2
    assert "1.96\xa0±\xa00.02\xa0Å" in symbols[0]["text"][0]
    assert "A. Nobody" in symbols[0]["text"][0]


def test_energy_is_relative_to_the_mean_after_equilibration() -> None:
    series = {
        "skip_ps": 1.0,
        "replicas": [
            {
                "replica": name,
                "time_ps": [0.0, 1.0, 2.0],
                "kinetic_temperature_K": [290.0, 300.0, 310.0],
                "potential_energy_eV": [50.0, energy, energy],
            }
            for name, energy in (("a", 1.0), ("b", 3.0))
        ],
    }
    figure = figures.time_series_figure(figures.TimeSeries.model_validate(series), 300.0)
    traces = json.loads(figure.plotly_json)["data"]
    np.testing.assert_allclose(decode(traces[2]["y"]), [48.0, -1.0, -1.0])
    np.testing.assert_allclose(decode(traces[4]["y"]), [290.0, 300.0, 310.0])
    shapes = json.loads(figure.plotly_json)["layout"]["shapes"]
    assert any(shape["y0"] == 300.0 for shape in shapes)
    assert any(shape["x1"] == 1.0 for shape in shapes)


def test_long_series_are_thinned_but_keep_their_values(results: Results) -> None:
    series = figures.TimeSeries.model_validate(
        {"skip_ps": 0.0, "replicas": [synthetic_series(1, 10_000)]}
    )
    assert figures.is_thinned(series)
    drawn = json.loads(figures.time_series_figure(series, 298.15).plotly_json)["data"][0]
    values = decode(drawn["y"])
    assert 1000 < len(values) <= figures.MAX_POINTS
    assert set(values) <= set(series.replicas[0].kinetic_temperature_K)


def test_learning_curve_is_logarithmic_with_readable_ticks(results: Results) -> None:
    curve = read_document(results).model.learning_curve
    assert curve is not None
    axis = json.loads(figures.learning_figure(curve).plotly_json)["layout"]["yaxis"]
    assert axis["type"] == "log"
    assert axis["ticktext"] == ["50", "100", "200", "500"]
    flat = curve.model_copy(update={"validation_force_rmse_meV_per_angstrom": [30.0] * 60})
    axis = json.loads(figures.learning_figure(flat).plotly_json)["layout"]["yaxis"]
    assert len(axis["ticktext"]) >= 2


# Files


def test_results_of_another_version_are_one_line(results: Results, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps({**results, "schema_version": 2}))
    with pytest.raises(InputError, match=r"another version.*schema_version.*run again") as caught:
        report_run(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "results.json"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_report_run_writes_the_page_beside_the_results(results: Results, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert report_run(tmp_path) == tmp_path / "report.html"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "results.json"]


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_text(path.read_text()[:1000])


def scramble(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00")


def forget_a_key(path: Path) -> None:
    path.write_text('{"question": {}}')


def listing(path: Path) -> None:
    path.write_text("[1, 2]")


@pytest.mark.parametrize("damage", [remove, truncate, scramble, forget_a_key, listing])
def test_damaged_results_are_refused_and_the_old_page_stays(
    results: Results, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    (tmp_path / "results.json").write_text(json.dumps(results))
    (tmp_path / "report.html").write_text("old")
    damage(tmp_path / "results.json")
    with pytest.raises(InputError) as caught:
        report_run(tmp_path)
    assert "\n" not in str(caught.value)
    assert "result" in str(caught.value)
    assert (tmp_path / "report.html").read_text() == "old"


def test_a_place_that_cannot_be_written_is_named(results: Results, tmp_path: Path) -> None:
    (tmp_path / "nowhere").write_text("a file, not a folder")
    with pytest.raises(InputError, match=r"nowhere.*cannot be written"):
        write_report(results, tmp_path / "nowhere" / "report.html")


def test_a_full_disk_leaves_nothing_half_written(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, content: bytes) -> int:
        with self.open("wb") as stream:
            stream.write(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(ExternalError, match="disk is full"):
        write_report(results, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


# Single figures


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_single_figure_is_a_function_of_the_results(
    results: Results, tmp_path: Path, ending: str
) -> None:
    few = {**results, "rdfs": {pair: results["rdfs"][pair] for pair in ("Li-O", "O-O")}}
    first = write_rdf_figure(few, tmp_path / f"a.{ending}").read_bytes()
    assert write_rdf_figure(few, tmp_path / f"b.{ending}").read_bytes() == first
    other = changed(few, "rdfs.O-O.g.60", 1.9)
    assert write_rdf_figure(other, tmp_path / f"c.{ending}").read_bytes() != first
    if ending == "svg":
        assert ET.fromstring(first).tag == "{http://www.w3.org/2000/svg}svg"
    else:
        assert first.startswith(b"\x89PNG")


def test_single_figure_refuses_other_endings_and_empty_results(
    results: Results, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"\.png or \.svg"):
        write_rdf_figure(results, tmp_path / "figure.pdf")
    with pytest.raises(InputError, match="no radial distribution function"):
        write_rdf_figure({**results, "rdfs": {}}, tmp_path / "figure.png")
    assert list(tmp_path.iterdir()) == []


# The watchdog


def watched() -> list[Results]:
    """A quiet replica and a disturbed one, as the dynamics write them."""
    from bjerrum.dynamics.recording import summarise
    from bjerrum.dynamics.watchdog import Event, Watch

    watch = Watch(stride=10)
    events = [
        Event(step, "broken O-H bond", (3, 7), 1.5 + step / 1000, watch.broken_bond, "angstrom")
        for step in (100, 110, 120, 500)
    ]
    found = [event.to_json() for event in events]
    return [summarise([], watch, 1.0), summarise(found, watch, 1.0)]


def test_watchdog_events_are_shown(results: Results) -> None:
    quiet = PageReader(render_report(read_document({**results, "watchdog": watched()[:1]})))
    assert "saw nothing unusual in 1 replica." in quiet.visible
    seen = PageReader(render_report(read_document({**results, "watchdog": watched()})))
    text = seen.visible.replace("\xa0", " ")
    assert "saw something in 1 of 2 replicas" in text
    assert "broken O-H bond 2 4 0.1 to 0.12, 0.5 ps 2 Å, limit 1.45 Å" in text
    assert "atoms 3, 7, step 500" in text
    none = PageReader(render_report(read_document(results)))
    assert "No watch was kept over this run." in none.visible


def test_a_damaged_watch_record_is_refused(results: Results) -> None:
    damaged = json.loads(json.dumps(watched()))
    damaged[1]["reasons"]["broken O-H bond"]["worst"]["value"] = "far"
    with pytest.raises(InputError, match="watchdog"):
        read_document({**results, "watchdog": damaged})
