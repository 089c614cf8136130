"""HTML: the overview, a salt, a comparison, a run, an estimate."""

from __future__ import annotations

from functools import cache
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from bjerrum import __version__
from bjerrum.database.comparison import overview, with_experiment
from bjerrum.database.queries import Filter, list_estimates, list_runs, show_estimate, show_run
from bjerrum.report import rounding
from bjerrum.system import IONS, SALTS, Salt
from bjerrum.web.api import Chosen, Formula, Key, Opened
from bjerrum.web.assets import PLOTLY, PLOTLY_STYLE, VERSION
from bjerrum.web.plotly_style import style_marks

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

QUANTITIES: Final = {
    "osmotic_coefficient": ("φ", "osmotic coefficient"),
    "activity_coefficient": ("γ", "activity coefficient"),
    "ln_activity_coefficient": ("ln γ", "ln activity coefficient"),
    "dlna_dlnc": ("∂ln a", "activity derivative"),
    "diffusion_coefficient": ("D", "diffusion coefficient"),
    "conductivity": ("κ", "conductivity"),
    "viscosity": ("η", "viscosity"),
    "density": ("ρ", "density"),
    "dielectric_constant": ("ε", "dielectric constant"),
    "association_constant": ("K", "association constant"),
    "coordination_number": ("n", "coordination number"),
    "first_peak": ("r₁", "first peak of g(r)"),
    "rdf": ("g(r)", "radial distribution function"),
    "pmf": ("w(r)", "potential of mean force"),
}
"""Symbol and name of the quantities that have one; others go by their name."""
TABLE_ROWS: Final = 100


@router.get("/")
def overview_page(database: Opened) -> str:
    """Salts by cation and anion, with what is known of each."""
    found = overview(database)
    counts: dict[str, dict[str, int]] = {}
    for row in found["coverage"]:
        counts.setdefault(row["salt"], {})[row["quantity"]] = row["n"]
    present = sorted({row["quantity"] for row in found["coverage"]}, key=_rank)
    return render(
        "overview.html.j2",
        found=found,
        grid=_grid(),
        counts=counts,
        present=present,
        runs=list_runs(database, limit=12),
        database=database.name.rpartition("/")[2],
    )


@router.get("/salts/{formula}")
def salt_page(database: Opened, formula: Formula) -> str:
    """Everything of one salt."""
    salt = Salt.parse(formula)
    found = overview(database)
    counts = {c["quantity"]: c["n"] for c in found["coverage"] if c["salt"] == salt.formula}
    return render(
        "salt.html.j2",
        salt=salt,
        counts=dict(sorted(counts.items(), key=lambda item: _rank(item[0]))),
        range=next((s for s in found["salts"] if s["salt"] == salt.formula), None),
        runs=list_runs(database, salt=salt.formula, limit=50),
    )


@router.get("/compare")
def compare_page(database: Opened, where: Chosen) -> str:
    """Salts and models side by side."""
    found = overview(database)
    numbers = {c["quantity"] for c in found["coverage"]} - {"rdf", "pmf"}
    present = sorted(numbers, key=_rank)
    quantity = where.quantity or (present[0] if present else None)
    query = [("quantity", quantity or "")]
    query += [("salt", salt) for salt in where.salts] + [("model", name) for name in where.models]
    return render(
        "compare.html.j2",
        found=found,
        present=present,
        quantity=quantity,
        where=where,
        query=urlencode(query),
    )


@router.get("/estimates")
def estimates_page(database: Opened, where: Chosen) -> str:
    """Lines of a table; the first hundred that fit."""
    rows = with_experiment(list_estimates(database, where, limit=TABLE_ROWS))
    return render("estimates.html.j2", rows=rows, where=where)


@router.get("/estimates/{key}")
def estimate_page(database: Opened, key: Key) -> str:
    """One number: experiment beside it, and where it comes from."""
    found = show_estimate(database, key)
    place = found["solution"]
    row = {**found, **{name: place[name] for name in _PLACE}}
    return render("estimate.html.j2", found=with_experiment([row])[0], place=place)


@router.get("/runs/{key}")
def run_page(database: Opened, key: Key) -> str:
    """One run: what it found, from what, at what cost, and how to repeat it."""
    found = show_run(database, key)
    rows = with_experiment(list_estimates(database, Filter(run=found["hash"]), limit=TABLE_ROWS))
    return render("run.html.j2", found=found, rows=rows)


_PLACE: Final = ("salt", "molality_mol_per_kg", "temperature_K")


def render(template: str, **values: Any) -> str:
    """Return a page; every value is escaped."""
    return _environment().get_template(template).render(**values)


def value_text(value: float | None, error: float | None, unit: str = "1") -> str:
    """Return "0.973 ± 0.012 S/m", rounded to two digits of the error."""
    if value is None:
        return ""
    text = rounding.with_error(value, error) if error else rounding.number(value, 4)
    return rounding.with_unit(text, unit)


def _grid() -> tuple[list[str], list[str], dict[tuple[str, str], str]]:
    """Return cations, anions and the formula of each pair."""
    cations = [symbol for symbol, ion in IONS.items() if ion.charge > 0]
    anions = [symbol for symbol, ion in IONS.items() if ion.charge < 0]
    pairs = {(s.cation.symbol, s.anion.symbol): formula for formula, s in SALTS.items()}
    return cations, anions, pairs


def _rank(quantity: str) -> tuple[int, str]:
    names = list(QUANTITIES)
    return (names.index(quantity) if quantity in names else len(names), quantity)


def _name(quantity: str) -> str:
    return QUANTITIES.get(quantity, ("", quantity.replace("_", " ")))[1]


def _symbol(quantity: str) -> str:
    return QUANTITIES.get(quantity, (quantity.replace("_", " "), ""))[0]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bjerrum.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        formula=rounding.formula_text,
        pair=rounding.pair_text,
        number=rounding.number,
        unit=rounding.unit_text,
        quantity=_name,
        symbol=_symbol,
        doi_url=lambda doi: f"https://doi.org/{quote(doi, safe='/():;.')}",
    )
    environment.globals.update(
        value_text=value_text,
        measured_text=lambda found: rounding.with_unit(
            rounding.published(found["value"], found["uncertainty"]), found["unit"]
        ),
        version=__version__,
        assets=VERSION,
        plotly={"script": PLOTLY, "style": PLOTLY_STYLE, "marks": style_marks()},
        quantities=QUANTITIES,
        ions=IONS,
    )
    return environment
