"""How commands read trajectories: the options they share, and runs as streams of chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bjerrum.errors import InputError

if TYPE_CHECKING:
    from bjerrum.trajectory import TrajectoryChunk

SkipPs = Annotated[float, typer.Option("--skip-ps", help="Leave out the start of each run.")]
Topology = Annotated[
    Path | None, typer.Option("--topology", help="For trajectories without elements.")
]
Elements = Annotated[
    list[str] | None,
    typer.Option("--element", help="Type to element, such as 1=O; repeat it."),
]
FrameInterval = Annotated[
    float | None,
    typer.Option("--frame-interval-ps", help="Time between frames, where the file has no times."),
]

CellEdge = Annotated[
    float | None, typer.Option("--cell-angstrom", help="Edge, where the file has none.")
]
BoxEdge = Annotated[
    float | None,
    typer.Option(
        "--box-angstrom", help="Edge of the cubic box: for CSVs, or if the file has none."
    ),
]
IonPairs = Annotated[int | None, typer.Option("--pairs", help="Ion pairs in the box; for CSVs.")]
Waters = Annotated[int | None, typer.Option("--waters", help="Waters in the box; for CSVs.")]
FigureFile = Annotated[
    Path | None, typer.Option("--figure", help="Draw it, with error bars: a .html file.")
]


@dataclass(frozen=True)
class Reading:
    """How to read every trajectory of a command."""

    skip_ps: float = 0.0
    topology: Path | None = None
    elements: tuple[str, ...] = ()
    cell: float | None = None
    frame_interval_ps: float | None = None

    def run(self, path: Path) -> Iterator[TrajectoryChunk]:
        """Yield the chunks of one run without its start and without frames that are marked."""
        from bjerrum.properties.structure import after
        from bjerrum.trajectory import iterate_frames, without_marked

        chunks = iterate_frames(
            path,
            topology=self.topology,
            elements=assignments(self.elements, "--element", "1=O") or None,
            cell=self.cell,
            frame_interval_ps=self.frame_interval_ps,
        )
        yield from after(without_marked(chunks), self.skip_ps, str(path))


def assignments(items: tuple[str, ...] | list[str], option: str, example: str) -> dict[str, str]:
    """Return NAME=VALUE options as a mapping; InputError for any other form."""
    parts = [item.split("=") for item in items]
    if not all(len(part) == 2 and all(part) for part in parts):
        raise InputError(f"{option}: expected a form such as {example}, got {' '.join(items)}")
    return {name: value for name, value in parts}  # noqa: C416


def all_csv(sources: list[Path]) -> bool:
    """Tell whether the sources are CSV files; InputError if only some are."""
    csv = [path.suffix.lower() == ".csv" for path in sources]
    if any(csv) and not all(csv):
        raise InputError("give CSV files of RDFs or trajectories, not both at once")
    return all(csv)
