"""Which mesh nodes were asked in an attempt at a job: the next attempt is another one's."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("job_attempts", sa.Column("nodes", sa.Text()))


def downgrade() -> None:
    """Undo."""
    op.drop_column("job_attempts", "nodes")
