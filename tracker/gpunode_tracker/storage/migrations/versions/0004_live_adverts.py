"""Adverts that nodes sent with their heartbeats, so that every replica knows them."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "live_adverts",
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("heard_at", sa.BigInteger(), nullable=False),
        sa.Column("is_live", sa.Boolean(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "task", "model", name="pk_live_adverts"),
    )
    op.create_index("ix_live_adverts_changed_at", "live_adverts", ["changed_at"])
    op.create_index("ix_live_adverts_expires_at", "live_adverts", ["expires_at"])


def downgrade() -> None:
    """Undo."""
    op.drop_table("live_adverts")
