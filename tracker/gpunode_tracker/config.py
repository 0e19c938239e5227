"""Settings of the tracker: option > ``GPUNODE_TRACKER_*`` > ``[tracker]`` in TOML > default."""

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self

import platformdirs
from annotated_types import Ge, Gt, Le
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.jobs_api import LEASE_S, SYNC_TIMEOUT_S
from gpunode_protocol.settings import LayeredSettings
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_url import is_loopback_host
from gpunode_protocol.validation import Name
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    NoDecode,
    SettingsConfigDict,
)

from gpunode_tracker.client_addresses import Network, parse_network
from gpunode_tracker.errors import InvalidSettings
from gpunode_tracker.limits import Limits
from gpunode_tracker.shared.redis_urls import check_redis_url
from gpunode_tracker.storage.database_urls import driver_url

DEFAULT_PORT: Final = 8470
DEFAULT_MESH_PORT: Final = 4001
DEFAULT_MODELS: Final = {
    Task.LLM: "smollm2-135m",
    Task.IMAGE_GEN: "digits-diffusion",
    Task.WHISPER: "whisper-tiny.en",
    Task.EMBEDDING: "all-minilm-l6-v2",
}
"""Small models that packages ship: every node can serve them without a download. Operators name larger ones."""

LEAST_LEASE_S: Final = 45
"""A holder is heard every 20 s: one heartbeat that is lost, and one that is late, must not cost it the job."""
LONGEST_LEASE_S: Final = 150
"""A worker that is silent for longer counts as gone anyhow, see ``workers.presence``."""
_DAY_S: Final = 24 * 3600
_YEAR_S: Final = 365 * _DAY_S

DATABASE_VARIABLE: Final = "DATABASE_URL"
"""Where hosting platforms put a database's URL."""

REDIS_VARIABLE: Final = "REDIS_URL"
"""Likewise a Redis'."""

Credits = Annotated[int, Ge(0), Le(9_000_000_000_000)]
"""Whole credits; the largest amount still fits the ledger's 64 bits in micro-credits."""
Texts = Annotated[tuple[str, ...], NoDecode]
"""In the environment: separated by commas."""


class TrackerSettings(LayeredSettings):
    """How the tracker runs.

    Args:
        data_dir: keys and database.
        listen: ``HOST:PORT`` of HTTP, port 0 = any free one. None: loopback with plain http, everywhere with TLS.
        insecure: allow plain http beyond loopback (behind a proxy on another machine).
        tls_cert, tls_key: PEM files of the certificate chain and its key; both or none.
        public_url: how others reach this tracker, when it stands behind a proxy.
        trusted_proxies: addresses or networks of proxies, whose X-Forwarded-For says who asks.
        mesh: False = HTTP only, for tests.
        mesh_port: libp2p port, TCP and UDP, on all addresses; 0 = any free one.
        mesh_listen: multiaddrs instead of that.
        announce_address: multiaddrs without ``/p2p`` that others use instead of the ones that p2pd sees.
        quic: False also drops QUIC (p2pd's is of 2023: CVE-2024-22189).
        dispatch: send queued jobs to mesh nodes; needs the mesh. Without, only pull workers do them.
        dispatch_jobs: so many of them at once.
        initial_credits: credits for each account that the operator creates.
        open_registration: anybody may make an account; its credits are promotional.
        database_url: ``postgresql://…`` as libpq reads it, or ``sqlite+aiosqlite:///FILE``. Without one:
            ``DATABASE_URL``, else None = SQLite in ``data_dir``.
        redis_url: ``redis://…``, ``rediss://…`` or ``unix://…``, for what several trackers of one network share.
            Without one: ``REDIS_URL``, else none is used.
        default_models: model for jobs that name none, by task.
        geoip_database: GeoLite2 City file (.mmdb); None = the bundled one of 2018.
        worker_jobs: jobs that one pull worker may hold at once.
        limits: what one client may ask for, see ``Limits``.
        sync_timeout_s: how long ``POST /api/v1/jobs/sync`` waits for the job's end.
        job_retention_s: ended jobs are deleted so long after their end.
        lease_s: a job is its holder's for so long after each sign of life; the same for all trackers of a network.
        audit_retention_s: entries of the audit log are deleted when they are so old.
    """

    section: ClassVar[str] = "tracker"
    refusal: ClassVar[type[GpunodeError]] = InvalidSettings

    model_config = SettingsConfigDict(
        env_prefix="GPUNODE_TRACKER_", frozen=True, extra="forbid", env_ignore_empty=True, protected_namespaces=()
    )

    data_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("gpunode") / "tracker")
    listen: str | None = None
    insecure: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    public_url: str | None = None
    trusted_proxies: Texts = ()
    mesh: bool = True
    mesh_port: Annotated[int, Ge(0), Le(65_535)] = DEFAULT_MESH_PORT
    mesh_listen: Texts = ()
    announce_address: Texts = ()
    quic: bool = True
    dispatch: bool = True
    dispatch_jobs: Annotated[int, Ge(1), Le(1_000)] = 8
    initial_credits: Credits = 1_000
    open_registration: bool = False
    database_url: SecretStr | None = Field(
        default_factory=lambda: SecretStr(url) if (url := os.environ.get(DATABASE_VARIABLE)) else None
    )
    redis_url: SecretStr | None = Field(
        default_factory=lambda: SecretStr(url) if (url := os.environ.get(REDIS_VARIABLE)) else None
    )
    default_models: dict[Task, Name] = Field(default_factory=lambda: dict(DEFAULT_MODELS))
    geoip_database: Path | None = None
    worker_jobs: Annotated[int, Ge(1), Le(64)] = 4
    limits: Limits = Field(default_factory=Limits)
    sync_timeout_s: Annotated[float, Gt(0), Le(600)] = SYNC_TIMEOUT_S
    job_retention_s: Annotated[int, Ge(60), Le(10 * _YEAR_S)] = 7 * _DAY_S
    lease_s: Annotated[int, Ge(LEAST_LEASE_S), Le(LONGEST_LEASE_S)] = LEASE_S
    audit_retention_s: Annotated[int, Ge(_DAY_S), Le(100 * _YEAR_S)] = 400 * _DAY_S

    @field_validator("mesh_listen", "announce_address", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise InvalidSettings("TLS needs both: give --tls-cert and --tls-key.")
        try:
            _ = self.proxy_networks
        except ValueError as error:
            raise InvalidSettings(
                f"trusted_proxies: {error}. Give addresses or networks, such as 10.0.0.7 or fd00::/64."
            ) from error
        _ = self.sqlalchemy_url
        if self.redis_url is not None:
            check_redis_url(self.redis_url.get_secret_value())
        host, _ = self.http_address
        if not self.tls and not self.insecure and not is_loopback_host(host):
            raise InvalidSettings(
                f"The tracker would listen on {host} with plain http, so anyone in between could read API keys. Give "
                "--tls-cert and --tls-key, or listen on 127.0.0.1 behind a proxy with TLS, or accept it by --insecure."
            )
        return self

    @property
    def tls(self) -> bool:
        """Whether HTTP is served with TLS."""
        return self.tls_cert is not None

    @property
    def http_address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        text = self.listen or f"{'0.0.0.0' if self.tls else '127.0.0.1'}:{DEFAULT_PORT}"  # noqa: S104 -- with TLS only
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            raise InvalidSettings(f"{text!r} is not HOST:PORT; one looks like 127.0.0.1:{DEFAULT_PORT}.")
        return host.strip("[]"), int(port)

    @property
    def proxy_networks(self) -> tuple[Network, ...]:
        """The trusted proxies as networks."""
        return tuple(parse_network(text) for text in self.trusted_proxies)

    @property
    def mesh_addresses(self) -> tuple[str, ...]:
        """Multiaddrs to listen on."""
        port = self.mesh_port
        return self.mesh_listen or (f"/ip4/0.0.0.0/tcp/{port}", f"/ip4/0.0.0.0/udp/{port}/quic-v1")

    @property
    def sqlalchemy_url(self) -> str:
        """Where the database is. Secret: it may hold a password.

        Raises:
            InvalidSettings: ``database_url`` cannot be used.
        """
        if self.database_url is None:
            return f"sqlite+aiosqlite:///{self.sqlite_path}"
        return driver_url(self.database_url.get_secret_value())

    @property
    def sqlite_path(self) -> Path:
        """The database file, if no URL is set."""
        return self.data_dir / "tracker.db"
