"""``analyse transport``: diffusion, conductivity, transference numbers, viscosity."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bjerrum.cli.options import JsonFlag, print_results
from bjerrum.cli.trajectories import (
    CellEdge,
    Elements,
    FrameInterval,
    Reading,
    SkipPs,
    Topology,
    assignments,
)
from bjerrum.errors import InputError

if TYPE_CHECKING:
    from bjerrum.properties.finite_size import Viscosity


def transport(
    trajectories: Annotated[
        list[Path], typer.Argument(help="Runs of one system: H5MD, extended XYZ, LAMMPS dump...")
    ],
    temperature: Annotated[
        float | None, typer.Option(help="Kelvin; default: what the trajectory says.")
    ] = None,
    viscosity: Annotated[
        float | None,
        typer.Option(
            "--viscosity-mpa-s", help="The model's own, of this solution, for the box correction."
        ),
    ] = None,
    viscosity_error: Annotated[
        float, typer.Option("--viscosity-error-mpa-s", help="Its standard error.", min=0)
    ] = 0.0,
    borrow_viscosity: Annotated[
        str | None,
        typer.Option(help="Use a measured one instead: water, or a solution such as LiCl:2.6."),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option("--window-ps", help="Lag times of the fit, such as 10,50; default: found."),
    ] = None,
    charge: Annotated[
        list[str] | None, typer.Option(help="Formal charge, such as Zn=2; repeat it.")
    ] = None,
    mass: Annotated[
        list[str] | None, typer.Option(help="Mass in amu, such as H=2.014; repeat it.")
    ] = None,
    species: Annotated[
        list[str] | None, typer.Option(help="Measure the diffusion of these only; repeat it.")
    ] = None,
    keep_drift: Annotated[
        bool, typer.Option("--keep-drift", help="Leave the centre of mass where it moves.")
    ] = False,
    cell: CellEdge = None,
    figure: Annotated[
        Path | None, typer.Option(help="Also draw the mean squared displacements, as HTML.")
    ] = None,
    skip_ps: SkipPs = 0.0,
    topology: Topology = None,
    element: Elements = None,
    frame_interval_ps: FrameInterval = None,
    as_json: JsonFlag = False,
) -> None:
    """Diffusion, conductivity, transference numbers and viscosity, with error bars."""
    from bjerrum.properties.transport import analyse_transport

    reading = Reading(skip_ps, topology, tuple(element or ()), cell, frame_interval_ps)
    result = analyse_transport(
        [reading.run(path) for path in trajectories],
        names=[str(path) for path in trajectories],
        temperature=temperature,
        charges=_whole(assignments(charge or [], "--charge", "Zn=2")),
        masses=_real(assignments(mass or [], "--mass", "H=2.014")),
        viscosity=_viscosity(viscosity, viscosity_error, borrow_viscosity),
        window_ps=_window(window),
        species=species or None,
        keep_drift=keep_drift,
    )
    data = result.to_json()
    if figure is not None:
        from bjerrum.report.transport_figures import write_displacement_figure

        typer.echo(f"figure: {write_displacement_figure(data, figure)}", err=True)
    if as_json:
        print_results(data, as_json)
    else:
        typer.echo("\n".join(_table(data)))


def _viscosity(
    own: float | None, error: float, borrowed: str | None
) -> Viscosity | Callable[[float], Viscosity] | None:
    from bjerrum.estimate import Estimate
    from bjerrum.properties.finite_size import Viscosity

    if own is None and borrowed is None:
        return None
    if own is not None and borrowed is not None:
        raise InputError("give --viscosity-mpa-s or --borrow-viscosity, not both")
    if own is not None:
        if not 0 < own < 1e6:
            raise InputError(f"--viscosity-mpa-s: expected a positive viscosity, got {own:g}")
        value = Estimate(value=own, standard_error=error, unit="mPa s", n_effective=1)
        return Viscosity(value, "given by the user as the model's own", borrowed=False)
    _borrowed(str(borrowed), 298.15)  # wrong names are told before a file is read
    return partial(_borrowed, str(borrowed))


def _borrowed(name: str, temperature: float) -> Viscosity:
    from bjerrum.estimate import Estimate
    from bjerrum.literature import constant
    from bjerrum.literature.solutions import solution_viscosity
    from bjerrum.properties.finite_size import Viscosity

    if name == "water":
        found = constant("water_viscosity_mPa_s", temperature)
        what = "water"
    else:
        salt, _, text = name.partition(":")
        molality = _number(text, "--borrow-viscosity", "LiCl:2.6")
        found = solution_viscosity(salt, molality, temperature)
        what = f"{salt} at {molality:g} mol/kg"
    value = Estimate(value=found.value, standard_error=0.0, unit="mPa s", n_effective=1)
    source = f"borrowed: measured viscosity of {what} at {temperature:g} K, {found.source}"
    return Viscosity(value, source, borrowed=True)


def _window(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    low, _, high = text.partition(",")
    window = _number(low, "--window-ps", "10,50"), _number(high, "--window-ps", "10,50")
    if not 0 < window[0] < window[1]:
        raise InputError(f"--window-ps: expected two times in order such as 10,50; got {text}")
    return window


def _number(text: str, option: str, example: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{option}: expected a form such as {example}, got {text!r}") from None


def _whole(items: dict[str, str]) -> dict[str, int]:
    numbers = _real(items, "--charge", "Zn=2")
    if any(value != int(value) for value in numbers.values()):
        raise InputError(f"--charge: formal charges are whole numbers, got {numbers}")
    return {name: int(value) for name, value in numbers.items()}


def _real(
    items: dict[str, str], option: str = "--mass", example: str = "H=2.014"
) -> dict[str, float]:
    return {name: _number(value, option, example) for name, value in items.items()}


def _table(data: dict[str, Any]) -> list[str]:
    lines = []
    for species, found in data["diffusion_1e-9_m2_per_s"].items():
        if found["raw"] is None:
            lines.append(f"D({species}): not determined")
            continue
        low, high = found["window_ps"]
        line = f"D({species}) in this box: {_pm(found['raw'])} (lags {low:.3g} to {high:.3g} ps)"
        if found["corrected"] is not None:
            line += f"; infinite system: {_pm(found['corrected'])}"
        lines.append(line)
    for name, key in (
        ("conductivity", "conductivity_S_per_m"),
        ("Nernst-Einstein conductivity", "nernst_einstein_S_per_m"),
        ("their ratio", "conductivity_over_nernst_einstein"),
        ("viscosity", "viscosity_mPa_s"),
    ):
        if data[key] is not None:
            lines.append(f"{name}: {_pm(data[key])}")
    for species, number in (data["transference_numbers"] or {}).items():
        lines.append(
            f"transference number of {species} ({data['onsager_frame']} frame): {_pm(number)}"
        )
    if data["viscosity_source"]:
        lines.append(f"viscosity: {data['viscosity_source']}")
    if data["hydrogen"]:
        lines.append(f"hydrogen: {data['hydrogen']}")
    if any(data["was_wrapped"]):
        lines.append("the coordinates were wrapped and have been unwrapped")
    return lines + [f"{name}: {reason}" for name, reason in data["reasons"].items()]


def _pm(estimate: dict[str, Any]) -> str:
    unit = "" if estimate["unit"] == "1" else f" {estimate['unit']}"
    if not estimate["standard_error"]:
        return f"{estimate['value']:.4g}{unit}"
    return f"{estimate['value']:.4g} +- {estimate['standard_error']:.2g}{unit}"
