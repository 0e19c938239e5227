"""All tables. Instants are Unix seconds, amounts micro-credits. Migrations must lead to exactly this schema."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

RowId = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers only INTEGER keys by itself

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", LargeBinary, nullable=False))

signed_documents = Table(
    "signed_documents",
    metadata,
    Column("kind", Text, primary_key=True),  # keyset, revocations or tree-head
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),  # the largest is the newest
    Column("body", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
)

price_tables = Table(
    "price_tables",
    metadata,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("body", JSON, nullable=False),
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("promotional", Boolean, nullable=False),  # its credits pay nodes nothing spendable
    Column("created_at", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_hash", LargeBinary, primary_key=True),  # SHA-256; the key itself was shown once
    Column("account_id", ForeignKey("accounts.id"), nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False),
)

nodes = Table(
    "nodes",
    metadata,
    Column("peer", Text, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), index=True),  # NULL: earnings stay with the node's key
    Column("name", Text, nullable=False),
    Column("region", Text),
    Column("country", Text, nullable=False),
    # Where GeoIP saw its address at the last registration, whole degrees and km; NULL when unknown.
    Column("seen_latitude", Integer),
    Column("seen_longitude", Integer),
    Column("seen_accuracy_km", Integer),
    Column("gpu_model", Text, nullable=False),
    Column("gpu_memory_mb", BigInteger, nullable=False),
    Column("supported_tasks", JSON, nullable=False),
    Column("token_hash", LargeBinary, unique=True),  # SHA-256 of the worker token; NULL after leaving
    Column("registered_at", BigInteger, nullable=False),
    Column("last_heartbeat_at", BigInteger),
    Column("revoked_at", BigInteger),
)

certificates = Table(
    "certificates",
    metadata,
    Column("serial", Text, primary_key=True),
    Column("peer", ForeignKey("nodes.peer"), nullable=False, index=True),
    Column("issued_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

used_challenges = Table(
    "used_challenges",
    metadata,
    Column("challenge", LargeBinary, primary_key=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)

grants = Table(
    "grants",
    metadata,
    Column("jti", Text, primary_key=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("client", Text, nullable=False),
    Column("tasks", JSON, nullable=False),
    Column("node_caps", JSON(none_as_null=True)),  # {peer: micro-credits}; NULL for an open cap
    Column("reserved", BigInteger, nullable=False),
    Column("price_version", ForeignKey("price_tables.version"), nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("release_at", BigInteger, nullable=False),  # from then on the rest goes back
    Column("returned_at", BigInteger),
    Index("ix_grants_account_id_returned_at", "account_id", "returned_at"),
    Index("ix_grants_returned_at_release_at", "returned_at", "release_at"),
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("row", RowId, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("leaf", LargeBinary, nullable=False),  # canonical bytes
    Column("leaf_hash", LargeBinary, nullable=False),
    Column("position", BigInteger, unique=True),  # number in the log; NULL until sequenced
)

transfers = Table(
    "transfers",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("entry_row", ForeignKey("ledger_entries.row"), nullable=False),
    Column("account", Text, nullable=False),
    Column("microcredits", BigInteger, nullable=False),
    Index("ix_transfers_account", "account", "id", "microcredits"),  # covers the sums
)

balance_checkpoints = Table(
    "balance_checkpoints",
    metadata,
    # Derived: the sum of the account's transfers up to and including ``last_transfer``. May be deleted at any time.
    Column("account", Text, primary_key=True),
    Column("last_transfer", BigInteger, nullable=False),
    Column("microcredits", BigInteger, nullable=False),
)

entry_owners = Table(
    "entry_owners",
    metadata,
    Column("owner", Text, primary_key=True),  # account:<id> or node:<peer>, who may read the entry
    Column("entry_row", ForeignKey("ledger_entries.row"), primary_key=True),
)

sequencers = Table(
    "sequencers",
    metadata,
    Column("log", Text, primary_key=True),
    Column("epoch", BigInteger, nullable=False),  # only the holder of the newest epoch numbers leaves
)

settlements = Table(
    "settlements",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("client", Text, nullable=False),
    Column("job", Text, nullable=False),
    Column("segment", Integer, nullable=False),
    Column("node", Text, nullable=False),
    Column("jti", ForeignKey("grants.jti"), nullable=False),
    Column("task", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("input_count", BigInteger, nullable=False),
    Column("final", Boolean, nullable=False),
    Column("paid", BigInteger, nullable=False),  # micro-credits, all entries of this settlement together
    Column("entry_row", ForeignKey("ledger_entries.row"), nullable=False),  # the newest
    Column("voucher_digest", LargeBinary, nullable=False),
    Column("output_digest", LargeBinary, nullable=False),
    Column("voucher_body", LargeBinary, nullable=False),
    Column("voucher_signature", LargeBinary, nullable=False),
    Column("receipt_digest", LargeBinary, index=True),
    Column("receipt_body", LargeBinary),
    Column("receipt_signature", LargeBinary),
    UniqueConstraint("client", "job", "segment", "node", "jti"),
    Index("ix_settlements_jti_node", "jti", "node", "paid"),
)

evidence = Table(
    "evidence",
    metadata,
    Column("voucher_digest", LargeBinary, primary_key=True),
    Column("receipt_digest", LargeBinary, primary_key=True),  # empty without a receipt
    Column("settlement_id", ForeignKey("settlements.id"), nullable=False, index=True),  # what it contradicts
    Column("reason", Text, nullable=False),
    Column("voucher_body", LargeBinary, nullable=False),
    Column("voucher_signature", LargeBinary, nullable=False),
    Column("receipt_body", LargeBinary),
    Column("receipt_signature", LargeBinary),
    Column("received_at", BigInteger, nullable=False),
)

reports = Table(
    "reports",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("node", Text, nullable=False, index=True),
    Column("job", Text, nullable=False),
    Column("segment", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("evidence", LargeBinary, nullable=False),
    Column("received_at", BigInteger, nullable=False),
)
