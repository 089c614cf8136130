"""Many boxes as one: a batch of unlike systems evaluated together by torch, on CPU or CUDA.

A graphics card is idle with one box of 248 atoms. Here the graphs of several boxes (any salts,
concentrations, cells) are one graph for the network, the ions of all boxes one padded array for the
Ewald sum, and positions stay on the device; only searches of neighbours go to the host, of those
boxes in which an atom has moved half the skin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from nequip.data import AtomicDataDict

from bjerrum.electrostatics import ScreenedCoulomb
from bjerrum.errors import ModelError
from bjerrum.estimate import FloatArray
from bjerrum.ewald import truncation
from bjerrum.potential import repulsion
from bjerrum.potential.model import Model
from bjerrum.potential.neighbours import VerletList
from bjerrum.units import COULOMB_CONSTANT

SKIN = 1.0
_CUTOFF_PER_LENGTH = 0.95
_REACH = 2
"""Images of a box that the real-space sum of the ions looks at, in each direction."""

System = tuple[Sequence[str], FloatArray]
"""Elements and cell of a box."""

_Pairs = tuple[torch.Tensor, torch.Tensor]
"""Numbers of the atoms of pairs, (2, n_pairs), and how many cells lie between, (n_pairs, 3)."""


class BatchedModel:
    """A model bound to a list of boxes: positions of all in, energy of each and all forces out.

    Raises ModelError for a committee, or an element that the model does not know.
    """

    def __init__(self, model: Model, systems: Sequence[System]) -> None:
        if len(model.network.members) != 1:
            raise ModelError(
                f"{model.card.name}: a batch takes one network, got a committee; "
                "give one of its members"
            )
        (network,) = model.network.members
        missing = sorted({s for symbols, _ in systems for s in symbols} - set(network.elements))
        if missing:
            raise ModelError(f"model: expected only {', '.join(network.elements)}, got {missing}")
        self.device, self._network, self._cutoff = network.device, network.network, network.cutoff
        index = {element: k for k, element in enumerate(network.elements)}
        types = [index[s] for symbols, _ in systems for s in symbols]
        counts = [len(symbols) for symbols, _ in systems]
        self.starts = np.concatenate([[0], np.cumsum(counts)])
        self._types = torch.tensor(types, device=self.device)
        self.batch = torch.repeat_interleave(
            torch.arange(len(systems), device=self.device), torch.tensor(counts, device=self.device)
        )
        cells = np.array([cell for _, cell in systems], dtype=np.float64)
        self._cells = torch.from_numpy(cells).to(self.device)
        self._counts = torch.tensor(counts, device=self.device)
        self._lists = [VerletList(cell, self._cutoff, SKIN) for cell in cells]
        self._anchor = torch.full((len(types), 3), torch.nan, dtype=torch.float64)
        self._anchor = self._anchor.to(self.device)
        self._found: list[_Pairs | None] = [None] * len(systems)
        self._pairs: _Pairs | None = None
        self._coulomb = _BatchedEwald(model.baseline, systems, self.device)
        self._wall = _BatchedWall(model.repulsion, network.elements, self.device)

    def reset(self, number: int | None = None) -> None:
        """Search neighbours of a box, or of all, anew at the next call."""
        self._anchor[slice(None) if number is None else self._atoms_of(number)] = torch.nan

    def __call__(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return energies (n_systems,) in eV and forces (n_atoms, 3) in eV/angstrom.

        positions  of all boxes, one after the other, double precision, on the device
        """
        index, shifts = self._edges(positions)
        data = {
            AtomicDataDict.POSITIONS_KEY: positions.clone(),
            AtomicDataDict.CELL_KEY: self._cells,
            AtomicDataDict.ATOM_TYPE_KEY: self._types,
            AtomicDataDict.EDGE_INDEX_KEY: index,
            AtomicDataDict.EDGE_CELL_SHIFT_KEY: shifts,
            AtomicDataDict.BATCH_KEY: self.batch,
            AtomicDataDict.NUM_NODES_KEY: self._counts,
        }
        output = self._network(data)
        energies = output[AtomicDataDict.TOTAL_ENERGY_KEY].reshape(-1).double().detach()
        forces = output[AtomicDataDict.FORCE_KEY].double().detach()
        r = positions.detach().clone().requires_grad_()
        edges = r[index[1]] - r[index[0]] + self._offsets(index, shifts)
        rest = self._coulomb(r) + self._wall(edges, self._types[index], self.batch[index[0]],
                                             len(energies))  # fmt: skip
        (gradient,) = torch.autograd.grad(rest.sum(), r)
        return energies + rest.detach(), forces - gradient

    def _offsets(self, index: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
        return torch.einsum("ei,eij->ej", shifts, self._cells[self.batch[index[0]]])

    def _edges(self, positions: torch.Tensor) -> _Pairs:
        stale = self._stale(positions)
        if stale or self._pairs is None:
            self._pairs = self._search(positions, stale)
        index, shifts = self._pairs
        vectors = positions[index[1]] - positions[index[0]] + self._offsets(index, shifts)
        near = (vectors**2).sum(dim=1) < self._cutoff**2
        return index[:, near], shifts[near]

    def _atoms_of(self, number: int) -> slice:
        return slice(int(self.starts[number]), int(self.starts[number + 1]))

    def _stale(self, positions: torch.Tensor) -> list[int]:
        """Return the boxes in which an atom has moved half the skin, or nothing was found yet."""
        moved = ((positions.detach() - self._anchor) ** 2).sum(dim=1)
        far = ~(moved <= (SKIN / 2) ** 2)  # that is so too where a number is none
        boxes: list[int] = torch.unique(self.batch[far]).tolist()
        return boxes

    def _search(self, positions: torch.Tensor, boxes: Sequence[int]) -> _Pairs:
        """Search neighbours in these boxes; those of the others are as they were."""
        host = positions.detach().cpu().numpy()
        for number in boxes:
            atoms = self._atoms_of(number)
            self._lists[number].find(np.ascontiguousarray(host[atoms]))
            first, second, shift = self._lists[number].found
            pairs = torch.from_numpy(np.stack([first, second]) + atoms.start)
            self._found[number] = pairs.to(self.device), torch.from_numpy(shift).to(self.device)
            self._anchor[atoms] = positions.detach()[atoms]
        known = [found for found in self._found if found is not None]
        return torch.cat([pairs for pairs, _ in known], dim=1), torch.cat([s for _, s in known])


class _BatchedEwald:
    """Ewald sums of all boxes, ions padded with zero charges to the largest number."""

    def __init__(
        self, baseline: ScreenedCoulomb, systems: Sequence[System], device: torch.device
    ) -> None:
        charge_of, t = dict(baseline.charges), truncation(baseline.accuracy)
        charges = [np.array([charge_of.get(s, 0.0) for s in symbols]) for symbols, _ in systems]
        most = max(1, max(int((q != 0).sum()) for q in charges))
        cells = np.array([cell for _, cell in systems], dtype=np.float64)
        volumes = np.abs(np.linalg.det(cells))
        lengths = volumes ** (1 / 3)
        atom, charge = np.zeros((len(systems), most), int), np.zeros((len(systems), most))
        start = 0
        for k, q in enumerate(charges):
            own = np.flatnonzero(q)
            atom[k, : len(own)], charge[k, : len(own)] = own + start, q[own]
            start += len(q)

        def put(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(array)).to(device)

        self._atoms, self._charges, self._cells = put(atom), put(charge), put(cells)
        self._inverse = torch.linalg.inv(self._cells)
        self._cutoff, self._smearing = (
            put(_CUTOFF_PER_LENGTH * lengths),
            put(_CUTOFF_PER_LENGTH * lengths / t),
        )
        n = math.ceil(
            max(
                t**2
                / (2 * math.pi * _CUTOFF_PER_LENGTH)
                * np.linalg.norm(cells, axis=2).max(axis=1)
                / lengths
            )
        )
        grid = np.stack(np.meshgrid(*[np.arange(-n, n + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
        grid = grid[len(grid) // 2 + 1 :]
        near = np.linalg.norm(grid, axis=1) <= n
        self._k = put(grid[near].astype(float))
        vectors = 2 * math.pi * torch.einsum("ka,bca->bkc", self._k, self._inverse)
        square = (vectors**2).sum(-1)
        volume = put(volumes)[:, None]
        self._factors = (
            4 * math.pi / volume * torch.exp(-0.5 * square * self._smearing[:, None] ** 2) / square
        )
        images = np.stack(np.meshgrid(*[np.arange(-_REACH, _REACH + 1)] * 3, indexing="ij"), -1)
        self._images = put(images.reshape(-1, 3).astype(float))
        q2 = (self._charges**2).sum(1)
        total = self._charges.sum(1)
        self._constant = (
            -q2 / (math.sqrt(2 * math.pi) * self._smearing)
            - math.pi * self._smearing**2 * total**2 / volume[:, 0]
        )
        self._prefactor = COULOMB_CONSTANT / baseline.dielectric_constant

    def __call__(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the energy of each box, eV."""
        r = positions[self._atoms]
        fractions = torch.einsum("bia,bac->bic", r, self._inverse)
        between = fractions[:, None] - fractions[:, :, None]
        between = between - between.detach().round()
        vectors = torch.einsum(
            "bijsa,bac->bijsc", between[:, :, :, None] + self._images, self._cells
        )
        square = (vectors**2).sum(-1)
        near = (square > 1e-12) & (square < self._cutoff[:, None, None, None] ** 2)
        distance = torch.where(near, square, torch.ones_like(square)).sqrt()
        width = math.sqrt(2) * self._smearing[:, None, None, None]
        part = torch.where(
            near, torch.erfc(distance / width) / distance, torch.zeros_like(distance)
        )
        products = self._charges[:, None] * self._charges[:, :, None]
        real = 0.5 * (products * part.sum(-1)).sum((1, 2))
        phase = 2 * math.pi * torch.einsum("ka,bia->bki", self._k, fractions)
        cosine = (self._charges[:, None] * phase.cos()).sum(-1)
        sine = (self._charges[:, None] * phase.sin()).sum(-1)
        return self._prefactor * (
            real + (self._factors * (cosine**2 + sine**2)).sum(-1) + self._constant
        )


class _BatchedWall:
    """The wall of :mod:`bjerrum.potential.repulsion` on edges."""

    def __init__(
        self, wall: repulsion.Repulsion | None, elements: Sequence[str], device: torch.device
    ) -> None:
        from ase.data import atomic_numbers

        outer = np.zeros((len(elements), len(elements)))
        for (a, b), r in () if wall is None else wall.outer:
            if a in elements and b in elements:
                i, j = elements.index(a), elements.index(b)
                outer[i, j] = outer[j, i] = r
        self._outer = torch.from_numpy(outer).to(device)
        nothing = np.zeros((len(elements), len(elements), 2))
        gaps = nothing if wall is None else repulsion.gap_table(wall, list(elements))
        self._gaps = torch.from_numpy(gaps).to(device)
        self._height = 0.0 if wall is None else wall.gap_height
        numbers = [float(atomic_numbers[element]) for element in elements]
        self._numbers = torch.tensor(numbers, dtype=torch.float64, device=device)
        self._strength = 0.0 if wall is None else wall.strength
        self._amplitudes = torch.from_numpy(repulsion.AMPLITUDES).to(device)
        self._decays = torch.from_numpy(repulsion.DECAYS).to(device)

    def __call__(
        self, edges: torch.Tensor, types: torch.Tensor, batch: torch.Tensor, n_systems: int
    ) -> torch.Tensor:
        """Return the energy of each box, eV."""
        pressed = self._pressed(edges, types, batch, n_systems)
        return pressed + self._between(edges, types, batch, n_systems)

    def _between(
        self, edges: torch.Tensor, types: torch.Tensor, batch: torch.Tensor, n_systems: int
    ) -> torch.Tensor:
        gaps, square = self._gaps[types[0], types[1]], (edges**2).sum(-1)
        near = (square > gaps[:, 0] ** 2) & (square < gaps[:, 1] ** 2)
        r, (low, high) = edges[near].norm(dim=1), gaps[near].T
        u = (r - low) / (high - low)
        energy = 0.5 * self._height * 64 * (u * (1 - u)) ** 3
        return torch.zeros(n_systems, dtype=r.dtype, device=r.device).index_add(
            0, batch[near], energy
        )

    def _pressed(
        self, edges: torch.Tensor, types: torch.Tensor, batch: torch.Tensor, n_systems: int
    ) -> torch.Tensor:
        outer = self._outer[types[0], types[1]]
        near = (edges**2).sum(-1) < outer**2
        r, limit = edges[near].norm(dim=1), outer[near]
        zi, zj = self._numbers[types[0][near]], self._numbers[types[1][near]]
        rate = (zi**0.23 + zj**0.23) / repulsion.SCREENING_LENGTH
        screening = (self._amplitudes * torch.exp(-(r * rate)[:, None] * self._decays)).sum(-1)
        u = ((limit - r) / ((1 - repulsion.INNER) * limit)).clamp(0.0, 1.0)
        switch = u**3 * (10 - 15 * u + 6 * u**2)
        energy = 0.5 * self._strength * COULOMB_CONSTANT * zi * zj / r * screening * switch
        return torch.zeros(n_systems, dtype=r.dtype, device=r.device).index_add(
            0, batch[near], energy
        )
