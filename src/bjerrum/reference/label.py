"""What a reference method says of a configuration, and the contract of those methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from bjerrum.errors import InputError
from bjerrum.estimate import FloatArray


class LabelStatus(StrEnum):
    """How a calculation ended. Only CONVERGED labels enter a data set."""

    CONVERGED = "converged"
    SCF_NOT_CONVERGED = "scf-not-converged"
    RESPONSE_NOT_CONVERGED = "response-not-converged"
    TRUNCATED = "truncated"
    GEOMETRY_MISMATCH = "geometry-mismatch"
    CRASHED = "crashed"

    @property
    def retryable(self) -> bool:
        """Whether the same calculation may end better: it was killed or died, not refused."""
        return self in {LabelStatus.TRUNCATED, LabelStatus.CRASHED}


@dataclass(frozen=True)
class Label:
    """Energy and forces of one configuration, or the reason why there are none.

    energy   eV; None unless converged
    forces   eV/angstrom, shape (n_atoms, 3); None unless converged
    reason   one line; empty if converged
    info     provenance: method, program version, settings hash, seconds, estimated noise
    """

    status: LabelStatus
    energy: float | None = None
    forces: FloatArray | None = None
    reason: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        whole = self.energy is not None and self.forces is not None
        if whole != (self.status is LabelStatus.CONVERGED):
            raise InputError(
                f"a label has energy and forces if, and only if, it converged; got {self.status}"
            )

    def with_info(self, **info: Any) -> Label:
        """Return the label with more provenance."""
        return replace(self, info={**self.info, **info})

    def attach(self, atoms: Atoms) -> Atoms:
        """Return a copy of the frame that carries the label; provenance goes into its ``info``.

        Raises InputError for a label that did not converge.
        """
        if self.status is not LabelStatus.CONVERGED:
            raise InputError(f"only converged labels enter a data set, this one is {self.status}")
        frame = atoms.copy()
        frame.info.update(self.info)
        frame.calc = SinglePointCalculator(frame, energy=self.energy, forces=self.forces)
        return frame


class Reference(Protocol):
    """A method that labels configurations one at a time."""

    name: str

    def describe(self) -> dict[str, Any]:
        """Return everything that determines a label besides the configuration, as JSON values."""
        ...

    def check(self, atoms: Atoms) -> None:
        """Raise InputError if the method cannot treat this configuration; cheap."""
        ...

    def calibration(self, frames: Sequence[Atoms]) -> list[tuple[int, Atoms]]:
        """Return further configurations to label, and to which frame each belongs.

        They measure what :meth:`refine` corrects; usually none.
        """
        ...

    def refine(
        self, frames: Sequence[Atoms | None], calibration: Sequence[tuple[int, Atoms | None]]
    ) -> list[Atoms | None]:
        """Return the labelled frames with corrections that need more than one label.

        None stands for a label that there is not, or not yet, or that cannot be corrected yet.
        """
        ...

    def label(self, atoms: Atoms, folder: Path) -> Label:
        """Label the configuration; inputs and logs stay in ``folder``.

        A calculation that ends badly is a Label with its status, not an exception. Raises
        ExternalError if the program cannot be run at all.
        """
        ...

    def stop(self) -> None:
        """End calculations that are under way; called from another thread."""
        ...
