"""Small files beside runs: the boxes that the web page shows."""

import sqlalchemy as sa
from alembic import op

revision = "r0002"
down_revision = "r0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "files",
        sa.Column("hash", sa.String(64), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "run_files",
        sa.Column("run", sa.String(64), sa.ForeignKey("runs.hash"), primary_key=True),
        sa.Column("file", sa.String(64), sa.ForeignKey("files.hash"), primary_key=True),
        sqlite_with_rowid=False,
    )
