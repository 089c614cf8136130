"""What coarse-graining is told: settings alone, so that planning reads them without its code."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bjerrum.coarse.network import DEFAULT_FORM
from bjerrum.potential.spec import NetworkSpec
from bjerrum.specification import Count, NotNegative, Positive, Spec


class NetworkTraining(Spec):
    """How networks of ions are trained.

    members        of the committee, whose mean is used; 0: no network
    epochs         at most
    patience       epochs without a gain on the validation blocks, after which training stops
    weight_decay   of Adam (Loshchilov and Hutter 2019)
    """

    form: NetworkSpec = DEFAULT_FORM
    members: Annotated[int, Field(ge=0)] = 0
    learning_rate: Positive = 0.005
    batch_frames: Count = 4
    epochs: Count = 30
    patience: Count = 4
    ema_decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
    weight_decay: NotNegative = 1e-3


class CoarseningSpec(Spec):
    """How a coarse-grained model is made; defaults suit alkali halides in water.

    pair_cutoff_angstrom    of the pair splines; the boxes need twice as much
    spacing_angstrom        of their knots
    body_cutoff_angstrom    of the three-body terms
    n_radial                radial functions of the three-body terms; 0: pairs alone
    members                 of the committee
    iterations              of the polish on g(r); 0: forces alone
    polish_ps               of each replica in one iteration
    replicas                of the runs of the polish
    network                 many-body networks on top, where there are to be any
    """

    pair_cutoff_angstrom: Positive = 10.0
    spacing_angstrom: Positive = 0.25
    body_cutoff_angstrom: Positive = 7.0
    n_radial: Annotated[int, Field(ge=0, le=8)] = 4
    members: Annotated[int, Field(ge=2)] = 8
    iterations: Annotated[int, Field(ge=0)] = 6
    polish_ps: Positive = 100.0
    replicas: Count = 4
    network: NetworkTraining = NetworkTraining()
    seed: Annotated[int, Field(ge=0)] = 1
