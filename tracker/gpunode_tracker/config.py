"""Settings of the tracker: option > ``GPUNODE_TRACKER_*`` > ``[tracker]`` in TOML > default."""

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

import platformdirs
from annotated_types import Ge, Le
from gpunode_protocol.tasks import Task
from gpunode_protocol.validation import Name, first_problem
from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from gpunode_tracker.errors import InvalidSettings

CONFIG_VARIABLE: Final = "GPUNODE_CONFIG"
"""Names the TOML file; without it, ``gpunode.toml`` in the current folder is read if there is one."""
_DEFAULT_FILE: Final = "gpunode.toml"
DEFAULT_PORT: Final = 8470
DEFAULT_MESH_PORT: Final = 4001

Credits = Annotated[int, Ge(0), Le(9_000_000_000_000)]
"""Whole credits; the largest amount still fits the ledger's 64 bits in micro-credits."""


class TrackerSettings(BaseSettings):
    """How the tracker runs.

    Args:
        data_dir: keys and database.
        listen: ``HOST:PORT`` of HTTP, port 0 = any free one. None: loopback with plain http, everywhere with TLS.
        insecure: allow plain http beyond loopback (behind a proxy on another machine).
        tls_cert, tls_key: PEM files of the certificate chain and its key; both or none.
        public_url: how others reach this tracker, when it stands behind a proxy.
        mesh: False = HTTP only, for tests.
        mesh_port: libp2p port, TCP and UDP, on all addresses; 0 = any free one.
        mesh_listen: multiaddrs instead of that.
        announce_address: multiaddrs without ``/p2p`` that others use instead of the ones that p2pd sees.
        quic: False also drops QUIC (p2pd's is of 2023: CVE-2024-22189).
        initial_credits: credits for each account that the operator creates.
        open_registration: anybody may make an account; its credits are promotional.
        database_url: SQLAlchemy URL; None = SQLite in ``data_dir``.
        default_models: model for jobs that name none, by task.
        geoip_database: GeoLite2 City file (.mmdb); None = the bundled one of 2018.
    """

    model_config = SettingsConfigDict(
        env_prefix="GPUNODE_TRACKER_", frozen=True, extra="forbid", env_ignore_empty=True, protected_namespaces=()
    )

    data_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("gpunode") / "tracker")
    listen: str | None = None
    insecure: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    public_url: str | None = None
    mesh: bool = True
    mesh_port: Annotated[int, Ge(0), Le(65_535)] = DEFAULT_MESH_PORT
    mesh_listen: tuple[str, ...] = ()
    announce_address: tuple[str, ...] = ()
    quic: bool = True
    initial_credits: Credits = 1_000
    open_registration: bool = False
    database_url: str | None = Field(default=None, repr=False)
    default_models: dict[Task, Name] = Field(default_factory=lambda: {Task.LLM: "smollm2-135m"})
    geoip_database: Path | None = None

    @classmethod
    def load(cls, arguments: Mapping[str, Any]) -> Self:
        """Return the settings; arguments that are None or empty count as not given.

        Raises:
            InvalidSettings: naming the setting and what is wrong with it.
        """
        try:
            return cls(**{name: value for name, value in arguments.items() if value not in (None, (), [])})
        except ValidationError as error:
            raise InvalidSettings(f"The tracker's settings are not valid: {first_problem(error)}.") from error

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise InvalidSettings("TLS needs both: give --tls-cert and --tls-key.")
        host, _ = self.http_address
        if not self.tls and not self.insecure and not _is_loopback(host):
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
    def mesh_addresses(self) -> tuple[str, ...]:
        """Multiaddrs to listen on."""
        port = self.mesh_port
        return self.mesh_listen or (f"/ip4/0.0.0.0/tcp/{port}", f"/ip4/0.0.0.0/udp/{port}/quic-v1")

    @property
    def sqlalchemy_url(self) -> str:
        """Where the database is."""
        return self.database_url or f"sqlite+aiosqlite:///{self.sqlite_path}"

    @property
    def sqlite_path(self) -> Path:
        """The database file, if no URL is set."""
        return self.data_dir / "tracker.db"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- pydantic-settings' signature; .env is the shell's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use arguments, then the environment, then the TOML file."""
        named = os.environ.get(CONFIG_VARIABLE)
        if named and not Path(named).is_file():
            raise InvalidSettings(f"There is no configuration file {named}.")
        file = Path(named or _DEFAULT_FILE)
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file, ("tracker",))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
