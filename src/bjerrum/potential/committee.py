"""Several networks as one: their mean drives the dynamics, their spread says where not to trust it.

Networks that differ in their seed and in the frames they saw agree where the data decide and differ
where they do not (Seung, Opper & Sompolinsky, COLT 1992; for force fields Schran, Brezina &
Marsalek, J. Chem. Phys. 153, 104105 (2020)). The spread is the sample standard deviation over the
members; how it compares with true errors is what ``bjerrum evaluate`` measures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from bjerrum.errors import ModelError
from bjerrum.estimate import Evaluation, FloatArray
from bjerrum.potential.nequip import NequipNetwork
from bjerrum.potential.protocol import ForceFunction, Resettable


class NetworkCommittee:
    """The mean of networks that know the same elements.

    Raises ModelError if there are fewer than two, or if they know different elements.
    """

    def __init__(self, members: Sequence[NequipNetwork]) -> None:
        if len(members) < 2:
            raise ModelError(f"committee: expected two members or more, got {len(members)}")
        kinds = [tuple(sorted(member.elements)) for member in members]
        if len(set(kinds)) > 1:
            listed = "; ".join(", ".join(kind) for kind in kinds)
            raise ModelError(f"committee: expected members of the same elements, got {listed}")
        self.members = tuple(members)
        self.elements = members[0].elements
        self.cutoff = max(member.cutoff for member in members)

    def bind(self, symbols: Sequence[str], cell: FloatArray) -> BoundCommittee:
        """Return the force function; see :class:`~bjerrum.potential.protocol.Potential`."""
        return BoundCommittee([member.bind(symbols, cell) for member in self.members])


class BoundCommittee:
    """The mean of force functions, and how far they are apart."""

    def __init__(self, members: Sequence[ForceFunction]) -> None:
        self._members = list(members)

    @property
    def n_members(self) -> int:
        """Number of networks."""
        return len(self._members)

    def reset(self) -> None:
        """Forget what the members carried over from earlier configurations."""
        for member in self._members:
            if isinstance(member, Resettable):
                member.reset()

    def __call__(self, positions: FloatArray) -> Evaluation:
        """Return the mean energy and the mean forces."""
        return self.with_spread(positions)[0]

    def with_spread(self, positions: FloatArray) -> tuple[Evaluation, FloatArray]:
        """Return the mean and the spread of the forces on each atom.

        Returns the evaluation and, shape (n_atoms,), eV/angstrom, the standard deviation over the
        members, root mean square of the three components.
        """
        results = [member(positions) for member in self._members]
        mean = Evaluation(
            float(np.mean([result.energy for result in results])),
            np.mean([result.forces for result in results], axis=0),
        )
        return mean, force_spread([result.forces for result in results])


def force_spread(forces: Sequence[FloatArray]) -> FloatArray:
    """Return s_i = sqrt(sum_{m,a} (F_mia - <F_ia>)^2 / 3 (M - 1)), shape (n_atoms,).

    forces  of each of the M members, shape (n_atoms, 3), eV/angstrom
    """
    variance = np.var(np.asarray(forces), axis=0, ddof=1)
    return np.asarray(np.sqrt(variance.mean(axis=1)))


def hash_of_members(hashes: Sequence[str]) -> str:
    """Return the identity of a committee: SHA-256 of the hashes of its members' weights."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()
