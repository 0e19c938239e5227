"""First tables: accounts, nodes, grants, ledger, settlements."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "accounts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("promotional", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
    )
    op.create_table(
        "balance_checkpoints",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("last_transfer", sa.BigInteger(), nullable=False),
        sa.Column("microcredits", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_balance_checkpoints")),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("row", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
        sa.Column("leaf_hash", sa.LargeBinary(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_ledger_entries")),
        sa.UniqueConstraint("id", name=op.f("uq_ledger_entries_id")),
        sa.UniqueConstraint("position", name=op.f("uq_ledger_entries_position")),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
    )
    op.create_table(
        "price_tables",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_price_tables")),
    )
    op.create_table(
        "sequencers",
        sa.Column("log", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("log", name=op.f("pk_sequencers")),
    )
    op.create_table(
        "signed_documents",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "sequence", name=op.f("pk_signed_documents")),
    )
    op.create_table(
        "used_challenges",
        sa.Column("challenge", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("challenge", name=op.f("pk_used_challenges")),
    )
    op.create_index(op.f("ix_used_challenges_expires_at"), "used_challenges", ["expires_at"], unique=False)
    op.create_table(
        "api_keys",
        sa.Column("key_hash", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_api_keys_account_id_accounts")),
        sa.PrimaryKeyConstraint("key_hash", name=op.f("pk_api_keys")),
    )
    op.create_index(op.f("ix_api_keys_account_id"), "api_keys", ["account_id"], unique=False)
    op.create_table(
        "entry_owners",
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("entry_row", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_row"], ["ledger_entries.row"], name=op.f("fk_entry_owners_entry_row_ledger_entries")
        ),
        sa.PrimaryKeyConstraint("owner", "entry_row", name=op.f("pk_entry_owners")),
    )
    op.create_table(
        "grants",
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("tasks", sa.JSON(), nullable=False),
        sa.Column("node_caps", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("price_version", sa.BigInteger(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("release_at", sa.BigInteger(), nullable=False),
        sa.Column("returned_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_grants_account_id_accounts")),
        sa.ForeignKeyConstraint(
            ["price_version"], ["price_tables.version"], name=op.f("fk_grants_price_version_price_tables")
        ),
        sa.PrimaryKeyConstraint("jti", name=op.f("pk_grants")),
    )
    op.create_index("ix_grants_account_id_returned_at", "grants", ["account_id", "returned_at"], unique=False)
    op.create_index("ix_grants_returned_at_release_at", "grants", ["returned_at", "release_at"], unique=False)
    op.create_table(
        "nodes",
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Text(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("gpu_model", sa.Text(), nullable=False),
        sa.Column("gpu_memory_mb", sa.BigInteger(), nullable=False),
        sa.Column("supported_tasks", sa.JSON(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=True),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("last_heartbeat_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_nodes_account_id_accounts")),
        sa.PrimaryKeyConstraint("peer", name=op.f("pk_nodes")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_nodes_token_hash")),
    )
    op.create_index(op.f("ix_nodes_account_id"), "nodes", ["account_id"], unique=False)
    op.create_table(
        "reports",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("account_id", sa.Text(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_reports_account_id_accounts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reports")),
    )
    op.create_index(op.f("ix_reports_node"), "reports", ["node"], unique=False)
    op.create_table(
        "transfers",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("entry_row", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("microcredits", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_row"], ["ledger_entries.row"], name=op.f("fk_transfers_entry_row_ledger_entries")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfers")),
    )
    op.create_index("ix_transfers_account", "transfers", ["account", "id", "microcredits"], unique=False)
    op.create_table(
        "certificates",
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("issued_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["peer"], ["nodes.peer"], name=op.f("fk_certificates_peer_nodes")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_certificates")),
    )
    op.create_index(op.f("ix_certificates_peer"), "certificates", ["peer"], unique=False)
    op.create_table(
        "settlements",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("job", sa.Text(), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("node", sa.Text(), nullable=False),
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("input_count", sa.BigInteger(), nullable=False),
        sa.Column("final", sa.Boolean(), nullable=False),
        sa.Column("paid", sa.BigInteger(), nullable=False),
        sa.Column("entry_row", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("voucher_digest", sa.LargeBinary(), nullable=False),
        sa.Column("output_digest", sa.LargeBinary(), nullable=False),
        sa.Column("voucher_body", sa.LargeBinary(), nullable=False),
        sa.Column("voucher_signature", sa.LargeBinary(), nullable=False),
        sa.Column("receipt_digest", sa.LargeBinary(), nullable=True),
        sa.Column("receipt_body", sa.LargeBinary(), nullable=True),
        sa.Column("receipt_signature", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["entry_row"], ["ledger_entries.row"], name=op.f("fk_settlements_entry_row_ledger_entries")
        ),
        sa.ForeignKeyConstraint(["jti"], ["grants.jti"], name=op.f("fk_settlements_jti_grants")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_settlements")),
        sa.UniqueConstraint(
            "client", "job", "segment", "node", "jti", name=op.f("uq_settlements_client_job_segment_node_jti")
        ),
    )
    op.create_index("ix_settlements_jti_node", "settlements", ["jti", "node", "paid"], unique=False)
    op.create_index(op.f("ix_settlements_receipt_digest"), "settlements", ["receipt_digest"], unique=False)
    op.create_table(
        "evidence",
        sa.Column("voucher_digest", sa.LargeBinary(), nullable=False),
        sa.Column("receipt_digest", sa.LargeBinary(), nullable=False),
        sa.Column("settlement_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("voucher_body", sa.LargeBinary(), nullable=False),
        sa.Column("voucher_signature", sa.LargeBinary(), nullable=False),
        sa.Column("receipt_body", sa.LargeBinary(), nullable=True),
        sa.Column("receipt_signature", sa.LargeBinary(), nullable=True),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["settlement_id"], ["settlements.id"], name=op.f("fk_evidence_settlement_id_settlements")
        ),
        sa.PrimaryKeyConstraint("voucher_digest", "receipt_digest", name=op.f("pk_evidence")),
    )
    op.create_index(op.f("ix_evidence_settlement_id"), "evidence", ["settlement_id"], unique=False)


def downgrade() -> None:
    """Undo."""
    op.drop_index(op.f("ix_evidence_settlement_id"), table_name="evidence")
    op.drop_table("evidence")
    op.drop_index(op.f("ix_settlements_receipt_digest"), table_name="settlements")
    op.drop_index("ix_settlements_jti_node", table_name="settlements")
    op.drop_table("settlements")
    op.drop_index(op.f("ix_certificates_peer"), table_name="certificates")
    op.drop_table("certificates")
    op.drop_index("ix_transfers_account", table_name="transfers")
    op.drop_table("transfers")
    op.drop_index(op.f("ix_reports_node"), table_name="reports")
    op.drop_table("reports")
    op.drop_index(op.f("ix_nodes_account_id"), table_name="nodes")
    op.drop_table("nodes")
    op.drop_index("ix_grants_returned_at_release_at", table_name="grants")
    op.drop_index("ix_grants_account_id_returned_at", table_name="grants")
    op.drop_table("grants")
    op.drop_table("entry_owners")
    op.drop_index(op.f("ix_api_keys_account_id"), table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_index(op.f("ix_used_challenges_expires_at"), table_name="used_challenges")
    op.drop_table("used_challenges")
    op.drop_table("signed_documents")
    op.drop_table("sequencers")
    op.drop_table("price_tables")
    op.drop_table("meta")
    op.drop_table("ledger_entries")
    op.drop_table("balance_checkpoints")
    op.drop_table("accounts")
