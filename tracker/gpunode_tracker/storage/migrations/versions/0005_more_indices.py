"""Indices: workers by status and by region, and the lanes in which an account's jobs wait."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_NAMED = sa.text("status = 'queued' AND model IS NOT NULL")


def upgrade() -> None:
    """Apply."""
    op.create_index("ix_workers_status", "workers", ["status", "id"])
    op.create_index("ix_workers_region", "workers", ["region", "id"])
    op.create_index(
        "ix_jobs_account_id_lane",
        "jobs",
        ["account_id", "lane"],
        sqlite_where=_NAMED,
        postgresql_where=_NAMED,
    )


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_jobs_account_id_lane", "jobs")
    op.drop_index("ix_workers_region", "workers")
    op.drop_index("ix_workers_status", "workers")
