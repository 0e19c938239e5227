"""All tables. Instants are Unix seconds, amounts micro-credits. Migrations must lead to exactly this schema."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _partial_index(name: str, *columns: str, where: str) -> Index:
    """Return an index over the few rows of a table that one question is about."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


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
    Column("id", Text, nullable=False, unique=True),  # public: names the key in lists and in the audit log
    Column("name", Text, nullable=False),
    Column("scopes", JSON(none_as_null=True)),  # names of ``scopes.Scope``; NULL = all but administration
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("requests_per_minute", Integer),  # NULL = the tracker's limits only
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
    _partial_index("ix_certificates_expires_at", "expires_at", where="revoked_at IS NOT NULL"),
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
    _partial_index("ix_grants_expires_at", "expires_at", where="revoked_at IS NOT NULL"),
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
    _partial_index("ix_ledger_entries_row", "row", where="position IS NULL"),
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

live_adverts = Table(
    "live_adverts",
    metadata,
    # What heartbeats brought, for the other trackers of a network; see ``shared.advert_exchange``.
    Column("peer", Text, primary_key=True),
    Column("task", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("signature", LargeBinary, nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("heard_at", BigInteger, nullable=False),  # the node's newest sign of life
    Column("is_live", Boolean, nullable=False),  # false: the node left, or took this model off
    Column("changed_at", BigInteger, nullable=False, index=True),  # when this row was written
)

workers = Table(
    "workers",
    metadata,
    Column("id", Text, primary_key=True),  # UUID
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),  # online, busy or offline, as told last; see ``workers.presence``
    Column("region", Text, nullable=False),
    Column("country", Text, nullable=False),
    Column("city", Text, nullable=False),
    Column("latitude", Integer),  # by GeoIP of its address, whole degrees; NULL when unknown
    Column("longitude", Integer),
    Column("gpu_model", Text, nullable=False),
    Column("gpu_memory_gb", Float, nullable=False),
    Column("memory_used_gb", Float, nullable=False),
    Column("supported_types", JSON, nullable=False),
    Column("models", JSON, nullable=False),  # empty = whatever comes of its types
    Column("avg_latency_ms", Integer),  # these three are computed here, never claimed
    Column("success_rate", Float, nullable=False),
    Column("total_jobs", Integer, nullable=False),
    Column("maintenance", Boolean, nullable=False),
    Column("last_heartbeat", BigInteger, index=True),
    Column("registered_at", BigInteger, nullable=False),
    Column("deregistered_at", BigInteger),
    Column("peer", Text, index=True),  # its key as a peer id; NULL: it has none, signs nothing and is not paid
    Column("auth_token_hash", LargeBinary, unique=True),  # SHA-256; NULL after it left
    Column("old_token_hash", LargeBinary, unique=True),  # before the last rotation, valid until ``old_token_until``
    Column("old_token_until", BigInteger),
    Index("ix_workers_status", "status", "id"),  # lists go by id
    Index("ix_workers_region", "region", "id"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("type", Text, nullable=False),
    Column("status", Text, nullable=False),  # queued, running, completed, failed, cancelled
    Column("priority", Integer, nullable=False),
    Column("region", Text),
    Column("model", Text),
    Column("lane", Text, nullable=False),  # type, region and model together: who may take it, see ``jobs.lanes``
    Column("rank", BigInteger, nullable=False),  # the smallest goes first, see ``jobs.queue_order``
    Column("error", Text),
    Column("attempt", Integer, nullable=False),  # number of the newest lease; fences older holders
    Column("worker_id", ForeignKey("workers.id")),
    Column("node", Text),  # peer id of the mesh node that holds or ended it
    Column("lease_expires_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("completed_at", BigInteger),
    Column("processing_ms", BigInteger),
    Column("account_id", ForeignKey("accounts.id"), nullable=False),
    Column("client_id", Text, nullable=False),  # id of the API key
    Column("client_address", Text, nullable=False),
    Column("client_region", Text),  # by GeoIP of the address
    Column("jti", ForeignKey("grants.jti")),  # the reservation that pays it
    Column("receipt_digest", LargeBinary),
    # last, because SQLite reads all that stands before a column to get at it
    Column("params", LargeBinary, nullable=False),  # sealed JSON, see ``sealing``
    Column("result", LargeBinary),  # likewise
    Column("request", LargeBinary),  # sealed: the signed request of the newest lease
    _partial_index("ix_jobs_lane_rank", "lane", "rank", "id", where="status = 'queued'"),
    # of running ones only: SQLite would take it for queued ones instead of the queue's own index, and sort the queue
    _partial_index("ix_jobs_lease_expires_at", "lease_expires_at", where="status = 'running'"),
    Index("ix_jobs_account_id_id", "account_id", "id"),
    # how many models an account's jobs wait for, see ``named_lanes``
    _partial_index("ix_jobs_account_id_lane", "account_id", "lane", where="status = 'queued' AND model IS NOT NULL"),
    Index("ix_jobs_completed_at", "completed_at"),
    Index("ix_jobs_region", "region"),
    Index("ix_jobs_priority_created_at", "priority", "created_at"),
)

job_attempts = Table(
    "job_attempts",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("holder", Text, nullable=False),  # worker:<id>, or dispatch:<replica> for nodes of the mesh
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("failure", Text),  # NULL while it runs, and after a success
    Column("nodes", Text),  # peer ids of the mesh nodes that were asked in it, with spaces between; NULL: none was
    Index("ix_job_attempts_holder", "holder", "started_at"),
    _partial_index("ix_job_attempts_open", "holder", where="ended_at IS NULL"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("account_id", ForeignKey("accounts.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("body_digest", LargeBinary, nullable=False),  # the same key with another body is a mistake
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", BigInteger, nullable=False, index=True),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("url", LargeBinary, nullable=False),  # sealed
    Column("secret", LargeBinary, nullable=False),  # sealed
    Column("tries", Integer, nullable=False),
    Column("due_at", BigInteger),  # NULL: the job has not ended, or nothing is to be sent any more
    Column("delivered_at", BigInteger),
    Column("problem", Text),
    Index("ix_webhooks_due_at", "due_at"),
)

bans = Table(
    "bans",
    metadata,
    Column("kind", Text, primary_key=True),  # account, address, worker or node
    Column("subject", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("until", BigInteger),  # NULL = for good
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("actor", Text, nullable=False),  # key:<id>, worker:<id> or operator
    Column("address", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", JSON, nullable=False),
)
