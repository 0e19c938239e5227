"""Where GeoIP saw a node's address when it registered."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("nodes", sa.Column("seen_latitude", sa.Integer(), nullable=True))
    op.add_column("nodes", sa.Column("seen_longitude", sa.Integer(), nullable=True))
    op.add_column("nodes", sa.Column("seen_accuracy_km", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Undo."""
    for name in ("seen_accuracy_km", "seen_longitude", "seen_latitude"):
        op.drop_column("nodes", name)  # no batch: that makes the table anew, and certificates refer to it
