"""What goes into the database: frozen records that know their own hash.

The hash of a record is the SHA-256 of its canonical JSON. The same content has the same hash,
whoever writes it and however often; times and cost are in no hash.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from bjerrum import __version__
from bjerrum.errors import InputError
from bjerrum.estimate import Estimate
from bjerrum.system import Salt, Solution

MAX_FILE_BYTES: Final = 2_000_000
"""Of a file kept beside a run; larger ones stay in the run folder."""
MAX_TEXT: Final = 2000
_NAME = re.compile(r"[a-z0-9_]{1,80}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)

Json = dict[str, Any]


def content_hash(content: Any) -> str:
    """Return the SHA-256 of canonical JSON: sorted keys, no spaces, shortest decimals of floats.

    Raises InputError for what JSON cannot hold, NaN and infinity included.
    """
    try:
        text = _CANONICAL.encode(content)
    except (TypeError, ValueError) as error:
        raise InputError(f"expected finite numbers, texts, lists and tables ({error})") from error
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class SolutionRecord:
    """A salt in water.

    salt                  formula, "LiCl"; InputError for one that Bjerrum does not know
    molality_mol_per_kg   mol per kg of water
    temperature_K         K
    """

    salt: str
    molality_mol_per_kg: float
    temperature_K: float  # noqa: N815

    def __post_init__(self) -> None:
        solution = Solution(Salt.parse(self.salt), self.molality_mol_per_kg, self.temperature_K)
        object.__setattr__(self, "salt", solution.salt.formula)
        object.__setattr__(self, "molality_mol_per_kg", round(solution.molality, 9))
        object.__setattr__(self, "temperature_K", round(solution.temperature, 6))

    @classmethod
    def of(cls, solution: Solution) -> SolutionRecord:
        """Return the record of a solution."""
        return cls(solution.salt.formula, solution.molality, solution.temperature)

    @property
    def ions(self) -> tuple[str, str]:
        """Element symbols of cation and anion."""
        salt = Salt.parse(self.salt)
        return salt.cation.symbol, salt.anion.symbol

    @cached_property
    def hash(self) -> str:
        """Identity of the solution."""
        return content_hash([self.salt, self.molality_mol_per_kg, self.temperature_K])


@dataclass(frozen=True)
class ModelRecord:
    """Where forces or potentials come from.

    name          for people, "licl-nnp1"
    sha256        of the weights, or of the parameters of a classical force field
    labels        the method of the labels, in a line
    code_version  of the program that made it
    document      model.json or any other JSON; not hashed
    """

    name: str
    sha256: str
    labels: str = ""
    code_version: str = __version__
    document: Json = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        _text("model name", self.name, needed=True)
        _text("model sha256", self.sha256, needed=True)
        _text("model labels", self.labels)
        content_hash(self.document)

    @cached_property
    def hash(self) -> str:
        """Identity of the model."""
        return content_hash([self.name, self.sha256, self.labels, self.code_version])


@dataclass(frozen=True)
class StepRecord:
    """One node of the provenance chain: a step of the store, or a file that no step made.

    hash        by which later steps refer to it
    inputs      name to hash of what was read; the chain ends at a hash without a record
    """

    hash: str
    name: str
    version: int = 1
    parameters: Json = field(default_factory=dict, compare=False)
    inputs: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        _text("step hash", self.hash, needed=True)
        _text("step name", self.name, needed=True)
        content_hash([self.parameters, dict(self.inputs)])


@dataclass(frozen=True)
class EstimateRecord:
    """A number with its error bar.

    quantity        "osmotic_coefficient"; small letters, digits and _
    subject         pair "Li-O", species "Li", or "" for the solution
    standard_error  None where there is none
    unit            as printed, "1" for pure numbers
    method          one line that a person reads
    step            hash of the step that made it
    solution        None: that of the run; another one for a point of a curve
    details         any JSON
    """

    quantity: str
    value: float
    standard_error: float | None
    unit: str
    method: str
    subject: str = ""
    n_effective: float | None = None
    code_version: str = __version__
    step: str = ""
    solution: SolutionRecord | None = None
    details: Json = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        _quantity(self.quantity)
        for name in ("subject", "unit", "method", "code_version", "step"):
            _text(name, getattr(self, name), needed=name in ("unit", "method"))
        _number("value", self.value)
        if self.standard_error is not None:
            _number("standard_error", self.standard_error, least=0.0)
        if self.n_effective is not None:
            _number("n_effective", self.n_effective, least=0.0)

    @classmethod
    def of(
        cls,
        estimate: Estimate,
        *,
        quantity: str,
        method: str,
        step: str = "",
        subject: str = "",
        code_version: str = __version__,
        solution: SolutionRecord | None = None,
    ) -> EstimateRecord:
        """Return the record of an Estimate; its own provenance becomes the details."""
        return cls(
            quantity=quantity,
            subject=subject,
            value=float(estimate.value),
            standard_error=float(estimate.standard_error),
            unit=estimate.unit,
            n_effective=float(estimate.n_effective),
            method=method,
            code_version=code_version,
            step=step,
            solution=solution,
            details=dict(estimate.provenance),
        )

    def hash_for(self, solution: SolutionRecord, model: ModelRecord | None) -> str:
        """Identity of the estimate: every field, the solution and the model."""
        numbers = [_float(x) for x in (self.value, self.standard_error, self.n_effective)]
        texts = [self.quantity, self.subject, self.unit, self.method, self.code_version, self.step]
        place = [solution.hash, model.hash if model else None]
        return content_hash([place, texts, numbers, self.details])


@dataclass(frozen=True)
class CurveRecord:
    """A function of distance or time: "rdf", "pmf" ...

    columns  name with unit to values, all of one length; None where a value is not known
    """

    quantity: str
    columns: Mapping[str, Sequence[float | None]] = field(compare=False)
    subject: str = ""
    step: str = ""
    method: str = ""

    def __post_init__(self) -> None:
        _quantity(self.quantity)
        for name in ("subject", "step", "method"):
            _text(name, getattr(self, name))
        lengths = {len(values) for values in self.columns.values()}
        if len(lengths) != 1 or lengths == {0}:
            raise InputError(
                f"curve {self.quantity} {self.subject}: expected columns of one length, "
                f"got {sorted(lengths)}"
            )

    def hash_for(self, solution: SolutionRecord, model: ModelRecord | None) -> str:
        """Identity of the curve."""
        place = [solution.hash, model.hash if model else None]
        columns = {name: list(values) for name, values in self.columns.items()}
        return content_hash([place, self.quantity, self.subject, self.step, self.method, columns])


@dataclass(frozen=True)
class FileRecord:
    """A small file beside a run, such as its box for the picture."""

    name: str
    media_type: str
    content: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise InputError(f"a file's name is letters, digits, . _ -, got {self.name!r}")
        if not re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", self.media_type):
            raise InputError(f"expected a media type such as text/plain, got {self.media_type!r}")
        if len(self.content) > MAX_FILE_BYTES:
            raise InputError(
                f"{self.name}: at most {MAX_FILE_BYTES} bytes are kept, got {len(self.content)}"
            )

    @cached_property
    def hash(self) -> str:
        """Identity of the file."""
        digest = hashlib.sha256(self.content).hexdigest()
        return content_hash([self.name, self.media_type, digest])


@dataclass(frozen=True)
class RunRecord:
    """Everything that one run found, and where it comes from.

    name      for people
    kind      "run", "campaign", "import"
    campaign  name of the campaign, "" without one
    cost      JSON such as {"wall_seconds": 12.0}; not hashed
    document  JSON such as results.json; not hashed
    """

    name: str
    kind: str
    solution: SolutionRecord
    model: ModelRecord | None = None
    estimates: Sequence[EstimateRecord] = ()
    curves: Sequence[CurveRecord] = ()
    steps: Sequence[StepRecord] = ()
    files: Sequence[FileRecord] = ()
    campaign: str = ""
    cost: Json = field(default_factory=dict)
    document: Json = field(default_factory=dict)

    def __post_init__(self) -> None:
        _text("run name", self.name, needed=True)
        _text("campaign", self.campaign)
        _quantity(self.kind)
        for part in (self.cost, self.document):
            content_hash(part)

    def solution_of(self, estimate: EstimateRecord) -> SolutionRecord:
        """Return the solution that an estimate holds for."""
        return estimate.solution or self.solution

    @cached_property
    def estimate_hashes(self) -> list[str]:
        """Identities of the estimates, in their order."""
        return [e.hash_for(self.solution_of(e), self.model) for e in self.estimates]

    @cached_property
    def hash(self) -> str:
        """Identity of the run: its name, place, estimates, curves, steps and files."""
        return content_hash(
            [
                [self.name, self.kind, self.campaign, self.solution.hash],
                self.model.hash if self.model else None,
                sorted(self.estimate_hashes),
                sorted(c.hash_for(self.solution, self.model) for c in self.curves),
                sorted(step.hash for step in self.steps),
                sorted(file.hash for file in self.files),
            ]
        )


def _float(number: float | None) -> float | None:
    return None if number is None else float(number)


def _text(what: str, text: str, *, needed: bool = False) -> None:
    if not isinstance(text, str) or (needed and not text.strip()):
        raise InputError(f"{what}: expected a text, got {text!r}")
    if len(text) > MAX_TEXT or _CONTROL.search(text):
        raise InputError(
            f"{what}: expected at most {MAX_TEXT} printable characters, got {text[:40]!r}"
        )


def _quantity(name: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"expected a name of small letters, digits and _, got {name!r}")


def _number(what: str, number: float, *, least: float = -math.inf) -> None:
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if not is_number or not math.isfinite(number) or number < least:
        bound = "" if least == -math.inf else f" of at least {least:g}"
        raise InputError(f"{what}: expected a finite number{bound}, got {number!r}")
