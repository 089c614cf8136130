"""The values of one salt come out of the index in the order in which they are listed."""

from alembic import op

revision = "r0003"
down_revision = "r0002"
_COLUMNS = ["salt", "quantity", "subject", "molality_mol_per_kg", "temperature_K", "hash"]


def upgrade() -> None:
    """Put the columns of the order into the index of salts."""
    op.drop_index("ix_estimates_salt", table_name="estimates")
    op.create_index("ix_estimates_salt", "estimates", _COLUMNS)
