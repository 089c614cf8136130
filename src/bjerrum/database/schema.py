"""The tables. Every row is named by the hash of its content, see :mod:`bjerrum.database.records`.

    solutions   salt, molality, temperature
    models      where forces come from
    steps       the provenance chain
    runs        one question answered
    estimates   numbers with error bars; run_estimates says which runs found them
    curves      g(r), potentials of mean force; run_curves
    files       boxes for the picture; run_files

A change here needs a new file in ``migrations/versions``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Float,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

HASH = String(64)


class Base(DeclarativeBase):
    """Base of all tables, with fixed names of constraints so that migrations can refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {dict[str, Any]: JSON, str: Text, float: Float(53)}  # noqa: RUF012


class Solution(Base):
    """A salt in water."""

    __tablename__ = "solutions"
    hash: Mapped[str] = mapped_column(HASH, primary_key=True)
    salt: Mapped[str] = mapped_column(index=True)
    cation: Mapped[str]
    anion: Mapped[str]
    molality_mol_per_kg: Mapped[float]
    temperature_K: Mapped[float]  # noqa: N815


class Model(Base):
    """Where forces or potentials come from."""

    __tablename__ = "models"
    hash: Mapped[str] = mapped_column(HASH, primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    sha256: Mapped[str]
    labels: Mapped[str]
    code_version: Mapped[str]
    document: Mapped[dict[str, Any]]


class Step(Base):
    """One node of the provenance chain."""

    __tablename__ = "steps"
    hash: Mapped[str] = mapped_column(String(2000), primary_key=True)
    name: Mapped[str]
    version: Mapped[int]
    parameters: Mapped[dict[str, Any]]
    inputs: Mapped[dict[str, Any]]


class Run(Base):
    """One question answered."""

    __tablename__ = "runs"
    hash: Mapped[str] = mapped_column(HASH, primary_key=True)
    name: Mapped[str]
    kind: Mapped[str]
    campaign: Mapped[str] = mapped_column(index=True)
    solution: Mapped[str] = mapped_column(HASH, ForeignKey("solutions.hash"), index=True)
    model: Mapped[str | None] = mapped_column(HASH, ForeignKey("models.hash"))
    cost: Mapped[dict[str, Any]]
    document: Mapped[dict[str, Any]]
    added_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class Estimate(Base):
    """A number with its error bar; its solution's numbers again, so that lists need no sorting."""

    __tablename__ = "estimates"
    hash: Mapped[str] = mapped_column(HASH, primary_key=True)
    solution: Mapped[str] = mapped_column(HASH, ForeignKey("solutions.hash"))
    model: Mapped[str | None] = mapped_column(HASH, ForeignKey("models.hash"), index=True)
    salt: Mapped[str]
    molality_mol_per_kg: Mapped[float]
    temperature_K: Mapped[float]  # noqa: N815
    quantity: Mapped[str]
    subject: Mapped[str]
    value: Mapped[float]
    standard_error: Mapped[float | None]
    unit: Mapped[str]
    n_effective: Mapped[float | None]
    method: Mapped[str]
    code_version: Mapped[str]
    step: Mapped[str]
    details: Mapped[dict[str, Any]]
    __table_args__ = (
        Index(
            "ix_estimates_list",
            *("quantity", "subject", "salt", "molality_mol_per_kg", "temperature_K", "hash"),
        ),
        Index(
            "ix_estimates_salt",
            *("salt", "quantity", "subject", "molality_mol_per_kg", "temperature_K", "hash"),
        ),
    )


class Curve(Base):
    """A function of distance or time."""

    __tablename__ = "curves"
    hash: Mapped[str] = mapped_column(HASH, primary_key=True)
    solution: Mapped[str] = mapped_column(HASH, ForeignKey("solutions.hash"), index=True)
    model: Mapped[str | None] = mapped_column(HASH, ForeignKey("models.hash"))
    quantity: Mapped[str]
    subject: Mapped[str]
    method: Mapped[str]
    step: Mapped[str]
    columns: Mapped[dict[str, Any]]


class File(Base):
    """A small file beside a run."""

    __tablename__ = "files"
    hash: Mapped[str] = mapped_column(HASH, primary_key=True)
    name: Mapped[str]
    media_type: Mapped[str]
    content: Mapped[bytes] = mapped_column(LargeBinary)


class RunEstimate(Base):
    """Which run found which estimate."""

    __tablename__ = "run_estimates"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012
    run: Mapped[str] = mapped_column(HASH, ForeignKey("runs.hash"), primary_key=True)
    estimate: Mapped[str] = mapped_column(
        HASH, ForeignKey("estimates.hash"), primary_key=True, index=True
    )


class RunCurve(Base):
    """Which run found which curve."""

    __tablename__ = "run_curves"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012
    run: Mapped[str] = mapped_column(HASH, ForeignKey("runs.hash"), primary_key=True)
    curve: Mapped[str] = mapped_column(HASH, ForeignKey("curves.hash"), primary_key=True)


class RunStep(Base):
    """Which run has which steps in its chain."""

    __tablename__ = "run_steps"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012
    run: Mapped[str] = mapped_column(HASH, ForeignKey("runs.hash"), primary_key=True)
    step: Mapped[str] = mapped_column(String(2000), ForeignKey("steps.hash"), primary_key=True)


class RunFile(Base):
    """Which run has which files."""

    __tablename__ = "run_files"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012
    run: Mapped[str] = mapped_column(HASH, ForeignKey("runs.hash"), primary_key=True)
    file: Mapped[str] = mapped_column(HASH, ForeignKey("files.hash"), primary_key=True)
