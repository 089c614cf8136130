"""The report of one run as a single HTML page that needs no network.

The page is a function of the results document alone: no clock, no randomness, so two renderings
are identical byte for byte. Plotly's code is embedded once; the page's own policy forbids the
browser to load anything or to run any script but the embedded ones.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs
from pydantic import ValidationError

from bjerrum.errors import InputError
from bjerrum.files import write_whole
from bjerrum.report import comparison, figures, rounding, style
from bjerrum.report.document import RunDocument
from bjerrum.report.thermodynamics import legend, thermodynamics_figures
from bjerrum.report.watch_part import limit_text, spans_text, watch_sentence

RESULTS_NAME = "results.json"
REPORT_NAME = "report.html"


def report_run(run_dir: Path) -> Path:
    """Write ``report.html`` of a run folder from its ``results.json`` and return its path.

    Raises InputError where results.json is missing, damaged or not a results document.
    """
    results = read_results(run_dir)
    try:
        return write_report(results, Path(run_dir) / REPORT_NAME)
    except ResultsError as error:
        raise InputError(
            f"{Path(run_dir) / RESULTS_NAME}: was written by another version of Bjerrum or is not "
            f"complete ({error}); run again with this version to rewrite it"
        ) from error


class ResultsError(InputError):
    """A results document that breaks its schema."""


def read_results(run_dir: Path) -> dict[str, Any]:
    """Return the content of a run folder's ``results.json``; InputError where it cannot be read."""
    source = Path(run_dir) / RESULTS_NAME
    try:
        results: dict[str, Any] = json.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"cannot read {source} ({error.strerror}); give the folder of a finished run"
        ) from error
    except ValueError as error:
        raise InputError(f"{source} is not JSON ({error}); run again to rewrite it") from error
    return results


def write_report(results: dict[str, Any], path: Path) -> Path:
    """Write the page of a results document to ``path``, whole or not at all; return ``path``.

    Raises InputError where the document breaks its schema or the path cannot be written, and
    ExternalError where the disk is full.
    """
    page = render_report(read_document(results))
    return write_whole(Path(path), page.encode("utf-8"))


def read_document(results: dict[str, Any]) -> RunDocument:
    """Return the validated document; ResultsError names the first offending key."""
    try:
        return RunDocument.model_validate(results)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        more = f" (and {len(others)} more)" if others else ""
        raise ResultsError(f"results document: {where}: {first['msg']}{more}") from error


def render_report(document: RunDocument) -> str:
    """Return the page as HTML text."""
    environment = page_environment()
    scripts = [get_plotlyjs(), page_source(environment, "report.js")]
    return environment.get_template("report.html.j2").render(
        document=document,
        scripts=[Markup(script) for script in scripts],
        script_hashes=[policy_hash(script) for script in scripts],
        stylesheet=Markup(page_source(environment, "report.css")),
        **_figures(document),
    )


def _figures(document: RunDocument) -> dict[str, Any]:
    """Return the figures by the name the template gives them; None where nothing was recorded."""
    series, nve, curve = document.time_series, document.nve, document.model.learning_curve
    target, solution = document.question.temperature_K, document.thermodynamics
    return {
        "rdf_figures": figures.rdf_figures(document.rdfs),
        "time_series_figure": figures.time_series_figure(series, target) if series else None,
        "nve_figure": figures.nve_figure(nve) if nve else None,
        "learning_figure": figures.learning_figure(curve) if curve else None,
        "thermodynamics_figures": thermodynamics_figures(solution) if solution else [],
        "thermodynamics_legend": legend(solution) if solution else [],
    }


def page_environment() -> Environment:
    """Return the templates of the reports; every value in them is escaped."""
    environment = Environment(
        loader=PackageLoader("bjerrum.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=rounding.number,
        with_unit=rounding.with_unit,
        formula=rounding.formula_text,
        pair=rounding.pair_text,
        doi_url=lambda doi: f"https://doi.org/{quote(doi, safe='/():;.')}",
    )
    environment.globals.update(
        estimate_text=comparison.estimate_text,
        samples_text=comparison.samples_text,
        published_text=comparison.published_text,
        deviation=comparison.deviation,
        deviation_text=comparison.deviation_text,
        answer_sentence=comparison.answer_sentence,
        agreement_sentence=comparison.agreement_sentence,
        checks_sentence=comparison.checks_sentence,
        watch_sentence=watch_sentence,
        spans_text=spans_text,
        limit_text=limit_text,
        is_thinned=figures.is_thinned,
        style=style,
        marks=comparison.MARKS,
        agrees_within=comparison.AGREES_WITHIN,
        disagrees_beyond=comparison.DISAGREES_BEYOND,
    )
    return environment


def page_source(environment: Environment, name: str) -> str:
    """Return a template's file as it is."""
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


def policy_hash(script: str) -> str:
    """Return the hash by which the page's content security policy admits a script."""
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
