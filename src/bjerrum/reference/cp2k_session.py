"""Forces of r2SCAN step by step, for dynamics: one CP2K process that stays alive.

CP2K's shell mode through ASE's calculator; the density of earlier steps is extrapolated, so a step
costs a third of a single point. Dynamics, restarts and files are those of every other potential.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.cp2k import CP2K

from bjerrum.errors import ExternalError
from bjerrum.estimate import Evaluation, FloatArray
from bjerrum.reference.cp2k import Cp2kProgram
from bjerrum.reference.cp2k_elements import DATA_FOLDER_VARIABLE, data_folder
from bjerrum.reference.cp2k_input import session_input
from bjerrum.reference.cp2k_settings import Cp2kSettings
from bjerrum.reference.grid_noise import without_net_force


class Cp2kSession:
    """r2SCAN as a potential (:class:`~bjerrum.potential.protocol.Potential`), for small boxes.

    folder  for CP2K's output
    """

    def __init__(self, settings: Cp2kSettings, program: Cp2kProgram, folder: Path) -> None:
        self.settings = settings
        self.program = program
        self.folder = Path(folder)

    def bind(self, symbols: Sequence[str], cell: FloatArray) -> _BoundSession:
        """Return the force function; the CP2K process starts with its first call."""
        return _BoundSession(self, Atoms(list(symbols), cell=cell, pbc=True))


class _BoundSession:
    """Positions in, energy (eV) and forces (eV/angstrom, no net force) out."""

    def __init__(self, session: Cp2kSession, atoms: Atoms) -> None:
        self._session = session
        self._atoms = atoms
        self._short = Path(tempfile.mkdtemp(prefix="cp2k-"))
        weakref.finalize(self, shutil.rmtree, self._short, ignore_errors=True)

    def __call__(self, positions: FloatArray) -> Evaluation:
        if self._atoms.calc is None:
            self._atoms.positions = positions
            self._atoms.calc = self._start()
        self._atoms.positions = positions
        try:
            energy = float(self._atoms.get_potential_energy())
            forces = np.array(self._atoms.get_forces())
        except (AssertionError, RuntimeError, ValueError, OSError, EOFError) as error:
            log = self._session.folder / "session.out"
            raise ExternalError(
                f"CP2K stopped during the dynamics ({error or 'no answer'}); see {log}", log=log
            ) from error
        if self._session.settings.subtract_net_force:
            forces = without_net_force(forces, self._atoms.get_chemical_symbols())
        return Evaluation(energy, forces)

    def _start(self) -> CP2K:
        os.environ[DATA_FOLDER_VARIABLE] = str(data_folder())
        os.environ["OMP_NUM_THREADS"] = str(self._session.program.threads)
        self._session.folder.mkdir(parents=True, exist_ok=True)
        near = self._short / "s"  # CP2K's shell reads short lines only
        near.unlink(missing_ok=True)
        near.symlink_to(self._session.folder.resolve())
        from_input_alone = dict.fromkeys(
            (
                "basis_set",
                "basis_set_file",
                "potential_file",
                "pseudo_potential",
                "cutoff",
                "max_scf",
                "xc",
                "charge",
                "force_eval_method",
                "poisson_solver",
                "uks",
            )
        )
        return CP2K(
            command=f"{self._session.program.path} --shell",
            directory=str(near),
            label="session",
            inp=session_input(self._atoms, self._session.settings),
            print_level="LOW",
            stress_tensor=False,
            **from_input_alone,
        )
