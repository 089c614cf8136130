"""The many-body part as an equivariant network: NequIP on top of the linear terms, compiled.

The network has the form of the all-atom potentials (Batzner and others, Nat. Commun. 13, 2453
(2022)), a longer cutoff and few features. It is trained on what the linear terms leave of the
forces (:mod:`bjerrum.coarse.learning`) and runs as one more term of the compiled engine. Its zero
of energy is that of ions alone, so that potentials of mean force vanish at large distance.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from bjerrum.coarse.kernel import BoundNetworks
from bjerrum.errors import ExternalError, ModelError
from bjerrum.estimate import FloatArray
from bjerrum.files import atomic_path
from bjerrum.potential.card import Hyperparameters
from bjerrum.potential.spec import NetworkSpec
from bjerrum.specification import validate_spec

DEFAULT_FORM: Final = NetworkSpec(cutoff_angstrom=8.0, n_layers=2, l_max=1, n_features=8)
_FAR: Final = 1e3


class IonNetwork:
    """A trained network for ions, compiled for this processor.

    hyperparameters  arguments of ``nequip.model.NequIPGNNModel``
    state            its weights by name, numpy arrays
    Raises NoCompiler without a C++ compiler, ModelError for weights of another network.
    """

    def __init__(self, hyperparameters: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        self.hyperparameters = dict(hyperparameters)
        self.state = dict(state)
        self.elements: tuple[str, ...] = tuple(hyperparameters["type_names"])
        self.cutoff = float(hyperparameters["r_max"])

    @cached_property
    def _parts(self) -> dict[str, Any]:
        """Library and the arrays from which networks are created."""
        import torch
        from nequip.utils.global_state import set_global_state

        from bjerrum.potential.fused.compiler import load_library
        from bjerrum.potential.fused.description import describe, in_double
        from bjerrum.potential.fused.network import _typed
        from bjerrum.potential.fused.source import generate, padded
        from bjerrum.potential.fused.tables import tabulate

        set_global_state()
        try:
            state = {name: torch.from_numpy(np.array(v)) for name, v in self.state.items()}
            exact = in_double(self.hyperparameters, state)
        except (RuntimeError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"network of ions: weights do not fit the form: {reason}") from error
        description = describe(exact, self.hyperparameters)
        source, weights = generate(description)
        tables = tabulate(exact, description, padded(description.n_channels))
        return {
            "library": _typed(load_library(source)),
            "weights": weights,
            "tables": tables,
            "scales": np.array(description.scales, dtype=np.float64),
        }

    @cached_property
    def shifts(self) -> FloatArray:
        """Energy (eV) added to each ion, so that ions far from all others have none."""
        handle = _Handle(self._parts, self.cutoff, np.zeros(len(self.elements)))
        alone = [handle.energy(np.array([k], np.int32), np.zeros((1, 3))) for k in self._kinds]
        return -np.array(alone)

    @property
    def _kinds(self) -> range:
        return range(len(self.elements))

    def new_handle(self) -> _Handle:
        """Return the network with scratch memory of its own."""
        return _Handle(self._parts, self.cutoff, self.shifts)

    def pair_energy(self, first: str, second: str, r: FloatArray) -> FloatArray:
        """Return the energy of two ions alone, eV."""
        handle = self.new_handle()
        types = np.array([self.elements.index(e) for e in (first, second)], np.int32)
        places = [np.array([[0.0, 0, 0], [min(float(x), _FAR), 0, 0]]) for x in r]
        return np.array([handle.energy(types, place) for place in places])

    def energy(self, symbols: Sequence[str], positions: FloatArray) -> float:
        """Return the energy of ions without periodic images, eV."""
        types = np.array([self.elements.index(symbol) for symbol in symbols], np.int32)
        return self.new_handle().energy(types, np.asarray(positions, np.float64))


class _Handle:
    """One created network; it holds scratch memory and serves one thread."""

    def __init__(self, parts: Mapping[str, Any], cutoff: float, shifts: FloatArray) -> None:
        library, weights, tables = parts["library"], parts["weights"], parts["tables"]
        own = np.ascontiguousarray(shifts, np.float64)
        self.library = library
        self.address = library.network_create(
            _address(weights),
            len(weights),
            _address(tables.numbers),
            len(tables.numbers),
            tables.n_knots,
            cutoff,
            _address(parts["scales"]),
            _address(own),
            len(own),
        )
        if not self.address:
            raise ExternalError("not enough memory for the network's tables")
        weakref.finalize(self, library.network_destroy, self.address)

    def energy(self, types: Any, positions: FloatArray) -> float:
        """Return the energy of few ions, every pair of them, eV."""
        n = len(types)
        first, second = (
            np.ascontiguousarray(index) for index in np.nonzero(~np.eye(n, dtype=bool))
        )
        offsets, forces, virial = np.zeros((len(first), 3)), np.empty((n, 3)), np.empty((3, 3))
        energy, places = ctypes.c_double(), np.ascontiguousarray(positions, np.float64)
        arguments = (_address(types), _address(places), len(first))
        done = self.library.network_evaluate(
            self.address,
            n,
            *arguments,
            _address(first),
            _address(second),
            _address(offsets),
            ctypes.byref(energy),
            _address(forces),
            _address(virial),
        )
        if done < 0:
            raise ExternalError("not enough memory for the network's features")
        return energy.value


def bind_networks(networks: Sequence[IonNetwork], symbols: Sequence[str]) -> BoundNetworks | None:
    """Return what the engine needs of a committee, whose mean it adds; None without networks.

    All have one form: the members of a committee differ in their weights alone.
    """
    if not networks:
        return None
    handles = [network.new_handle() for network in networks]
    elements, library = networks[0].elements, handles[0].library
    address = ctypes.cast(library.network_evaluate, ctypes.c_void_p).value
    assert address is not None
    return BoundNetworks(
        evaluate=address,
        handles=tuple(handle.address for handle in handles),
        types=np.array([elements.index(symbol) for symbol in symbols], np.int32),
        cutoff=networks[0].cutoff,
        owner=handles,
    )


def save_networks(networks: Sequence[IonNetwork], path: Path) -> Path:
    """Write the weights of all members into one safetensors file."""
    from safetensors.numpy import save_file

    flat = {
        f"{k}/{name}": np.ascontiguousarray(value)
        for k, network in enumerate(networks)
        for name, value in network.state.items()
    }
    with atomic_path(path) as temporary:
        save_file(flat, temporary)
    return path


def load_networks(hyperparameters: Mapping[str, Any], path: Path) -> tuple[IonNetwork, ...]:
    """Read what :func:`save_networks` wrote; ModelError for a damaged file or another form.

    hyperparameters  the same for every member
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    plain = validate_spec(dict(hyperparameters), Hyperparameters, str(path)).model_dump()
    try:
        flat = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    states: dict[int, dict[str, Any]] = {}
    for name, value in flat.items():
        member, _, rest = name.partition("/")
        states.setdefault(int(member), {})[rest] = value
    return tuple(IonNetwork(plain, states[k]) for k in sorted(states))


def _address(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
