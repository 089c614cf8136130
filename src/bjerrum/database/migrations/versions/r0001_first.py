"""Solutions, models, steps, runs, estimates and curves."""

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None

_HASH = sa.String(64)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "solutions",
        sa.Column("hash", _HASH, primary_key=True),
        sa.Column("salt", sa.Text, nullable=False, index=True),
        sa.Column("cation", sa.Text, nullable=False),
        sa.Column("anion", sa.Text, nullable=False),
        sa.Column("molality_mol_per_kg", sa.Float(53), nullable=False),
        sa.Column("temperature_K", sa.Float(53), nullable=False),
    )
    op.create_table(
        "models",
        sa.Column("hash", _HASH, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, index=True),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("code_version", sa.Text, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
    )
    op.create_table(
        "steps",
        sa.Column("hash", sa.String(2000), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("inputs", sa.JSON, nullable=False),
    )
    op.create_table(
        "runs",
        sa.Column("hash", _HASH, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("campaign", sa.Text, nullable=False, index=True),
        sa.Column("solution", _HASH, sa.ForeignKey("solutions.hash"), nullable=False, index=True),
        sa.Column("model", _HASH, sa.ForeignKey("models.hash")),
        sa.Column("cost", sa.JSON, nullable=False),
        sa.Column("document", sa.JSON, nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
    )
    _measurements()
    _link("run_estimates", "estimate", "estimates", index=True)
    _link("run_curves", "curve", "curves")
    op.create_table(
        "run_steps",
        sa.Column("run", _HASH, sa.ForeignKey("runs.hash"), primary_key=True),
        sa.Column("step", sa.String(2000), sa.ForeignKey("steps.hash"), primary_key=True),
        sqlite_with_rowid=False,
    )


def _measurements() -> None:
    op.create_table(
        "estimates",
        *_place(indexed="model"),
        sa.Column("salt", sa.Text, nullable=False),
        sa.Column("molality_mol_per_kg", sa.Float(53), nullable=False),
        sa.Column("temperature_K", sa.Float(53), nullable=False),
        sa.Column("value", sa.Float(53), nullable=False),
        sa.Column("standard_error", sa.Float(53)),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("n_effective", sa.Float(53)),
        sa.Column("code_version", sa.Text, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
    )
    sorted_by = ["quantity", "subject", "salt", "molality_mol_per_kg", "temperature_K", "hash"]
    op.create_index("ix_estimates_list", "estimates", sorted_by)
    op.create_index("ix_estimates_salt", "estimates", ["salt", "quantity"])
    op.create_table(
        "curves", *_place(indexed="solution"), sa.Column("columns", sa.JSON, nullable=False)
    )


def _place(*, indexed: str) -> list[sa.Column]:
    solution, model = sa.ForeignKey("solutions.hash"), sa.ForeignKey("models.hash")
    return [
        sa.Column("hash", _HASH, primary_key=True),
        sa.Column("solution", _HASH, solution, nullable=False, index=indexed == "solution"),
        sa.Column("model", _HASH, model, index=indexed == "model"),
        sa.Column("quantity", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
    ]


def _link(table: str, column: str, other: str, *, index: bool = False) -> None:
    op.create_table(
        table,
        sa.Column("run", _HASH, sa.ForeignKey("runs.hash"), primary_key=True),
        sa.Column(column, _HASH, sa.ForeignKey(f"{other}.hash"), primary_key=True, index=index),
        sqlite_with_rowid=False,
    )
