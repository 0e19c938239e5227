"""Queued jobs, pull workers, keys with scopes, bans and the audit log; indices for what is asked every few seconds."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_QUEUED = sa.text("status = 'queued'")
_RUNNING = sa.text("status = 'running'")
_REVOKED = sa.text("revoked_at IS NOT NULL")
_UNSEQUENCED = sa.text("position IS NULL")
_NEW_INDICES = (
    ("ix_certificates_expires_at", "certificates", "expires_at", _REVOKED),
    ("ix_grants_expires_at", "grants", "expires_at", _REVOKED),
    ("ix_ledger_entries_row", "ledger_entries", "row", _UNSEQUENCED),
)
_OPEN = sa.text("ended_at IS NULL")


def upgrade() -> None:
    """Apply."""
    _extend_keys()
    _create_workers()
    _create_jobs()
    _create_around_jobs()
    _create_administration()
    for name, table, column, where in _NEW_INDICES:
        op.create_index(name, table, [column], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    """Undo."""
    for index, table, _column, _where in _NEW_INDICES:
        op.drop_index(index, table_name=table)
    for name in ("audit_log", "bans", "webhooks", "idempotency_keys", "job_attempts", "jobs", "workers"):
        op.drop_table(name)
    with op.batch_alter_table("api_keys") as keys:
        keys.drop_constraint("uq_api_keys_id", type_="unique")
        for name in ("id", "name", "scopes", "expires_at", "revoked_at", "requests_per_minute"):
            keys.drop_column(name)


def _extend_keys() -> None:
    """Keys that are there get the first 16 hex digits of their hash as a name for lists."""
    with op.batch_alter_table("api_keys") as keys:
        keys.add_column(sa.Column("id", sa.Text(), nullable=True))
        keys.add_column(sa.Column("name", sa.Text(), nullable=False, server_default=""))
        keys.add_column(sa.Column("scopes", sa.JSON(none_as_null=True), nullable=True))
        keys.add_column(sa.Column("expires_at", sa.BigInteger(), nullable=True))
        keys.add_column(sa.Column("revoked_at", sa.BigInteger(), nullable=True))
        keys.add_column(sa.Column("requests_per_minute", sa.Integer(), nullable=True))
    table = sa.table("api_keys", sa.column("key_hash", sa.LargeBinary()), sa.column("id", sa.Text()))
    connection = op.get_bind()
    for (key_hash,) in connection.execute(sa.select(table.c.key_hash)).all():
        named = sa.update(table).where(table.c.key_hash == key_hash).values(id=key_hash.hex()[:16])
        connection.execute(named)
    with op.batch_alter_table("api_keys") as keys:
        keys.alter_column("id", nullable=False, existing_type=sa.Text())
        keys.alter_column("name", server_default=None, existing_type=sa.Text(), existing_nullable=False)
        keys.create_unique_constraint("uq_api_keys_id", ["id"])


def _create_workers() -> None:
    op.create_table(
        "workers",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("city", sa.Text(), nullable=False),
        sa.Column("latitude", sa.Integer(), nullable=True),
        sa.Column("longitude", sa.Integer(), nullable=True),
        sa.Column("gpu_model", sa.Text(), nullable=False),
        sa.Column("gpu_memory_gb", sa.Float(), nullable=False),
        sa.Column("memory_used_gb", sa.Float(), nullable=False),
        sa.Column("supported_types", sa.JSON(), nullable=False),
        sa.Column("models", sa.JSON(), nullable=False),
        sa.Column("avg_latency_ms", sa.Integer(), nullable=True),
        sa.Column("success_rate", sa.Float(), nullable=False),
        sa.Column("total_jobs", sa.Integer(), nullable=False),
        sa.Column("maintenance", sa.Boolean(), nullable=False),
        sa.Column("last_heartbeat", sa.BigInteger(), nullable=True),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("deregistered_at", sa.BigInteger(), nullable=True),
        sa.Column("peer", sa.Text(), nullable=True),
        sa.Column("auth_token_hash", sa.LargeBinary(), nullable=True),
        sa.Column("old_token_hash", sa.LargeBinary(), nullable=True),
        sa.Column("old_token_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_workers"),
        sa.UniqueConstraint("auth_token_hash", name="uq_workers_auth_token_hash"),
        sa.UniqueConstraint("old_token_hash", name="uq_workers_old_token_hash"),
    )
    op.create_index("ix_workers_last_heartbeat", "workers", ["last_heartbeat"])
    op.create_index("ix_workers_peer", "workers", ["peer"])


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("rank", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=True),
        sa.Column("node", sa.Text(), nullable=True),
        sa.Column("lease_expires_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("completed_at", sa.BigInteger(), nullable=True),
        sa.Column("processing_ms", sa.BigInteger(), nullable=True),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("client_address", sa.Text(), nullable=False),
        sa.Column("client_region", sa.Text(), nullable=True),
        sa.Column("jti", sa.Text(), nullable=True),
        sa.Column("receipt_digest", sa.LargeBinary(), nullable=True),
        sa.Column("params", sa.LargeBinary(), nullable=False),
        sa.Column("result", sa.LargeBinary(), nullable=True),
        sa.Column("request", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name="fk_jobs_worker_id_workers"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_jobs_account_id_accounts"),
        sa.ForeignKeyConstraint(["jti"], ["grants.jti"], name="fk_jobs_jti_grants"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_lane_rank", "jobs", ["lane", "rank", "id"], sqlite_where=_QUEUED, postgresql_where=_QUEUED)
    op.create_index(
        "ix_jobs_lease_expires_at", "jobs", ["lease_expires_at"], sqlite_where=_RUNNING, postgresql_where=_RUNNING
    )
    op.create_index("ix_jobs_account_id_id", "jobs", ["account_id", "id"])
    op.create_index("ix_jobs_completed_at", "jobs", ["completed_at"])
    op.create_index("ix_jobs_region", "jobs", ["region"])
    op.create_index("ix_jobs_priority_created_at", "jobs", ["priority", "created_at"])


def _create_around_jobs() -> None:
    op.create_table(
        "job_attempts",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_attempts_job_id_jobs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "attempt", name="pk_job_attempts"),
    )
    op.create_index("ix_job_attempts_holder", "job_attempts", ["holder", "started_at"])
    op.create_index("ix_job_attempts_open", "job_attempts", ["holder"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_table(
        "idempotency_keys",
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("body_digest", sa.LargeBinary(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_idempotency_keys_account_id_accounts"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_idempotency_keys_job_id_jobs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account_id", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    op.create_index("ix_idempotency_keys_job_id", "idempotency_keys", ["job_id"])
    op.create_table(
        "webhooks",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("url", sa.LargeBinary(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("delivered_at", sa.BigInteger(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_webhooks_job_id_jobs", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name="pk_webhooks"),
    )
    op.create_index("ix_webhooks_due_at", "webhooks", ["due_at"])


def _create_administration() -> None:
    op.create_table(
        "bans",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("kind", "subject", name="pk_bans"),
    )
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False, autoincrement=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_at", "audit_log", ["at"])
