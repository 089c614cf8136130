"""``analyse pairing``: ion pairs, contacts of like ions, association, residence times."""

from __future__ import annotations

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
    from bjerrum.properties.pairing_result import PairingResult

MAX_LISTED = 20


def pairing(
    trajectories: Annotated[
        list[Path], typer.Argument(help="Runs of one system: H5MD, extended XYZ, LAMMPS dump...")
    ],
    shells: Annotated[
        str | None,
        typer.Option(help="Ends of the shells of cation-anion pairs in angstrom: 3.0,5.5,7.8."),
    ] = None,
    shell: Annotated[
        list[str] | None,
        typer.Option(help="End of a first shell in angstrom, such as Li-Li=4.1; repeat it."),
    ] = None,
    measured: Annotated[
        bool, typer.Option("--measured", help="Prefer the minima of this g(r) to published ones.")
    ] = False,
    tolerance_ps: Annotated[
        float, typer.Option(help="Impey's t*: shorter absences do not count.", min=0)
    ] = 2.0,
    write_frames: Annotated[
        Path | None,
        typer.Option(help="Write the frames with contacts of like ions, as extended XYZ."),
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Of those, only contacts of this ion, such as Li.")
    ] = None,
    cell: CellEdge = None,
    skip_ps: SkipPs = 0.0,
    topology: Topology = None,
    element: Elements = None,
    frame_interval_ps: FrameInterval = None,
    as_json: JsonFlag = False,
) -> None:
    """Contact and solvent-separated pairs, like-ion contacts, association, residence times."""
    from bjerrum.properties.pairing_result import analyse_pairing

    if only is not None and write_frames is None:
        raise InputError("--only says which frames --write-frames writes; give that too")
    reading = Reading(skip_ps, topology, tuple(element or ()), cell, frame_interval_ps)
    runs = [partial(reading.run, path) for path in trajectories]
    result = analyse_pairing(
        runs,
        shells=_shells(shells),
        neighbours=_neighbours(shell or []),
        measured=measured,
        tolerance_ps=tolerance_ps,
    )
    if write_frames is not None:
        count = _write(write_frames, runs, result, only)
        typer.echo(f"{count} frames: {write_frames}", err=True)
    data = result.to_json()
    if as_json:
        print_results(data, as_json)
    else:
        typer.echo("\n".join(_table(data)))


def _shells(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"--shells: expected distances such as 3.0,5.5,7.8; got {text!r}"
        ) from None


def _neighbours(items: list[str]) -> dict[tuple[str, str], float]:
    found = {}
    for name, value in assignments(items, "--shell", "Li-Li=4.1").items():
        pair = tuple(name.split("-"))
        try:
            end = float(value)
        except ValueError:
            end = 0.0
        if len(pair) != 2 or not end > 0:
            raise InputError(f"--shell: expected a form such as Li-Li=4.1, got {name}={value}")
        found[pair[0], pair[1]] = end
    return found


def _write(path: Path, runs: list[Any], result: PairingResult, only: str | None) -> int:
    """Write frames with like-ion contacts, wrapped into the cell, and return their number."""
    import ase.io
    from ase import Atoms

    from bjerrum.files import atomic_path

    if only is not None and only not in result.ions:
        raise InputError(f"--only: expected {' or '.join(result.ions)}, got {only}")
    images = []
    for number, (run, contacts) in enumerate(zip(runs, result.contacts, strict=True)):
        wanted: dict[int, list[Any]] = {}
        for contact in contacts:
            if only in (None, contact.species):
                wanted.setdefault(contact.frame, []).append(contact)
        start = 0
        for chunk in run():
            for frame in sorted(wanted.keys() & set(range(start, start + chunk.n_frames))):
                atoms = Atoms(
                    chunk.symbols,
                    chunk.positions[frame - start],
                    cell=chunk.cells[frame - start],
                    pbc=True,
                )
                atoms.wrap()
                atoms.info = {
                    "trajectory": number,
                    "frame": frame,
                    "contacts": " ".join(
                        f"{c.species}{c.ions[0]}-{c.species}{c.ions[1]}" for c in wanted[frame]
                    ),
                    "shared_oxygens": max(len(c.shared_oxygens) for c in wanted[frame]),
                }
                images.append(atoms)
            start += chunk.n_frames
    if not images:
        raise InputError("no frame holds such a contact: nothing to write")
    with atomic_path(path) as temporary:
        ase.io.write(temporary, images, format="extxyz")
    return len(images)


def _table(data: dict[str, Any]) -> list[str]:
    cation, anion = data["cation"], data["anion"]
    cutoffs = ", ".join(
        f"{pair} {_ends(ends)} ({data['cutoff_sources'][pair]})"
        for pair, ends in data["cutoffs_angstrom"].items()
    )
    lines = [f"distances in angstrom: {cutoffs}"]
    for name, found in data["pairs_per_cation"].items():
        lines.append(f"{anion} per {cation}, {name.replace('_', '-')}: {_pm(found)}")
    for name, found in data["nearest_anion"].items():
        lines.append(f"{cation} whose nearest {anion} is {name.replace('_', '-')}: {_pm(found)}")
    for name, found in data["association_constant_L_per_mol"].items():
        lines.append(f"association constant, {name.replace('_', ' ')}: {_pm(found)}")
    for species, kinds in data["like_contacts_per_ion"].items():
        for name, found in kinds.items():
            what = f"{species}-{species} contacts per {species}, {name.replace('_', ' ')}"
            lines.append(f"{what}: {_pm(found)}")
    for pair, kinds in data["residence_time_ps"].items():
        for name, found in kinds.items():
            lines.append(f"residence time {pair}, {name.replace('_', ' ')}: {_pm(found)}")
    lines += [f"not determined: {name}: {why}" for name, why in data["reasons"].items()]
    return lines + _contacts(data["like_contact_frames"])


def _ends(ends: list[float] | float) -> str:
    return " / ".join(f"{end:.3g}" for end in (ends if isinstance(ends, list) else [ends]))


def _contacts(contacts: list[dict[str, Any]]) -> list[str]:
    lines = [
        f"trajectory {c['trajectory']}, frame {c['frame']}: {c['species']} {c['ions'][0]} and "
        f"{c['ions'][1]}, {c['distance_angstrom']:.2f} angstrom, {len(c['shared_oxygens'])} shared"
        " oxygens"
        for c in contacts[:MAX_LISTED]
    ]
    if len(contacts) > MAX_LISTED:
        lines.append(f"... {len(contacts) - MAX_LISTED} more contacts (--json lists all)")
    return lines


def _pm(estimate: dict[str, Any] | None) -> str:
    if estimate is None:
        return "not determined"
    unit = "" if estimate["unit"] == "1" else f" {estimate['unit']}"
    return f"{estimate['value']:.4g} +- {estimate['standard_error']:.2g}{unit}"
