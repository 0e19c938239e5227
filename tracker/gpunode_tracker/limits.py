"""What one client may ask of the tracker, and how much of that at once: settings with their defaults."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from annotated_types import Ge, Le
from gpunode_protocol.tracker_api import MAX_BATCH_ITEMS
from pydantic import BaseModel, ConfigDict, Field, field_validator

from gpunode_tracker.rates import Rate


class Budget(StrEnum):
    """What is counted apart. The first group counts by address, the second by account or node."""

    ADDRESS = "address"
    """Every request, whoever it is from."""
    INDEX = "index"
    """The signed index: a signature and up to megabytes each time."""
    CHALLENGES = "challenges"
    REGISTRATIONS = "registrations"
    ACCOUNTS = "accounts"
    """Open registration."""
    FAILED_AUTHENTICATIONS = "failed_authentications"
    ANONYMOUS_SETTLEMENTS = "anonymous_settlements"
    """Batches that come without a known key or token: the signatures in them are enough."""

    SUBMITS = "submits"
    """Grants, reports, links, queued jobs."""
    LOOKUPS = "lookups"
    """Balances, entries, receipts, and whatever has no budget of its own."""
    HEARTBEATS = "heartbeats"
    SETTLEMENTS = "settlements"
    WORK = "work"
    """What pull workers ask while they work: the next job, pieces of an answer, the end of a job."""
    SETTLEMENT_ITEMS = "settlement_items"
    """Items of batches: two signatures each. By address where the batch came without a known key or token."""


DEFAULT_RATES: Final[Mapping[Budget, Rate]] = {
    # a hundred busy nodes behind one address: a heartbeat a minute and a batch a second each
    Budget.ADDRESS: Rate(per_minute=6_000, burst=1_000),
    Budget.INDEX: Rate(per_minute=600, burst=120),
    # a node asks once in its life; a restart of 60 behind one address passes at once
    Budget.CHALLENGES: Rate(per_minute=60, burst=120),
    Budget.REGISTRATIONS: Rate(per_minute=6, burst=60),
    Budget.ACCOUNTS: Rate(per_minute=1, burst=5),
    Budget.FAILED_AUTHENTICATIONS: Rate(per_minute=10, burst=30),
    Budget.ANONYMOUS_SETTLEMENTS: Rate(per_minute=120, burst=60),
    # AI Horde: 90 a minute and key. Its 2 a second would make a client with many jobs at once wait.
    Budget.SUBMITS: Rate(per_minute=90, burst=30),
    Budget.LOOKUPS: Rate(per_minute=600, burst=120),
    # nodes send one a minute, or one a second where that is set
    Budget.HEARTBEATS: Rate(per_minute=120, burst=30),
    # a busy node sends a batch a second, and what an outage has left without pauses
    Budget.SETTLEMENTS: Rate(per_minute=300, burst=60),
    # four jobs that stream at once, three pieces a second each, and short ones in between
    Budget.WORK: Rate(per_minute=1_500, burst=150),
    Budget.SETTLEMENT_ITEMS: Rate(per_minute=120_000, burst=10_000),
}

MIB: Final = 1024 * 1024


class Limits(BaseModel):
    """Limits of the tracker's HTTP interface. "Address": an IPv4 address, or the /64 of an IPv6 address.

    Args:
        rates: by budget; what is not named keeps its default.
        requests_per_address: requests of one address that may be worked on at once.
        connections_per_address, connections: open ones, of one address and in all. No more requests of one address
            wait for something at once either, which counts where a proxy brings them.
        connection_age_s: seconds after which a connection is closed between two requests.
        body_bytes: largest body of all calls but settlements and submissions of jobs.
        settlement_body_bytes: largest body of a settlement batch.
        completion_body_bytes: largest body by which a pull worker completes a job; files in it are base64.
        job_body_bytes: largest submission of a job, which may hold files in base64: 25 MiB of audio have 33.4 MiB.
        large_body_bytes_per_address, large_body_bytes: what may be in memory at once of bodies, and of results and jobs
            that are asked for, beyond ``body_bytes``, of one address and in all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rates: dict[Budget, Rate] = Field(default_factory=lambda: dict(DEFAULT_RATES))
    requests_per_address: Annotated[int, Ge(1), Le(100_000)] = 64
    connections_per_address: Annotated[int, Ge(1), Le(1_000_000)] = 256
    connections: Annotated[int, Ge(1), Le(1_000_000)] = 10_000
    connection_age_s: Annotated[int, Ge(1), Le(30 * 24 * 3600)] = 3_600
    body_bytes: Annotated[int, Ge(16 * 1024), Le(64 * MIB)] = 64 * 1024
    settlement_body_bytes: Annotated[int, Ge(MIB), Le(64 * MIB)] = 8 * MIB
    completion_body_bytes: Annotated[int, Ge(64 * 1024), Le(256 * MIB)] = 36 * MIB
    job_body_bytes: Annotated[int, Ge(MIB), Le(160 * MIB)] = 36 * MIB
    large_body_bytes_per_address: Annotated[int, Ge(MIB), Le(1024 * MIB)] = 48 * MIB
    large_body_bytes: Annotated[int, Ge(MIB), Le(16 * 1024 * MIB)] = 128 * MIB

    @field_validator("rates", mode="before")
    @classmethod
    def _fill_up(cls, value: Any) -> Any:
        return {**DEFAULT_RATES, **value} if isinstance(value, Mapping) else value

    @field_validator("rates")
    @classmethod
    def _take_whole_batches(cls, value: dict[Budget, Rate]) -> dict[Budget, Rate]:
        if value[Budget.SETTLEMENT_ITEMS].burst < MAX_BATCH_ITEMS:
            raise ValueError(f"a batch has up to {MAX_BATCH_ITEMS} items, so settlement_items needs that burst")
        return value
