"""Settings of the node: option > ``GPUNODE_*`` > ``[node]`` in TOML > default."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

import platformdirs
from annotated_types import Ge, Le, MaxLen
from gpunode_engines.config import EngineSettings
from gpunode_protocol.adverts import MAX_MODELS
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.geography import Position
from gpunode_protocol.payloads import MAX_BLOB_BYTES
from gpunode_protocol.prices import MICROCREDITS_PER_CREDIT
from gpunode_protocol.regions import Region
from gpunode_protocol.tracker_api import HEARTBEAT_INTERVAL_S
from gpunode_protocol.tracker_url import is_loopback_url, tracker_url
from gpunode_protocol.validation import NetworkId
from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import (
    NoDecode,
    SettingsConfigDict,
)

from gpunode_node.errors import InvalidSettings, NoBootstrap
from gpunode_node.job_inputs import DEFAULT_INPUT_LIMIT_BYTES
from gpunode_node.schedule import Schedule
from gpunode_node.served_model import DEFAULT_QUEUE_LIMIT

Texts = Annotated[tuple[str, ...], NoDecode]
"""In the environment: separated by commas."""


class NodeSettings(EngineSettings):
    """How a node runs; the engines' settings are among them.

    Args:
        bootstrap: the tracker, ``HOST[:PORT]`` or a URL.
        ca_file: PEM file of certificate authorities to trust instead of the system's.
        insecure: allow plain http to a tracker on another machine.
        network_id: 40 hex digits; the tracker must belong to this network, even at first contact.
        model: what to serve, at most 4; none = the network's default.
        region: where this node is; None = what the tracker finds out. country: two letters (ISO 3166-1), or empty.
        latitude, longitude: degrees, south and west negative, both or neither; advertised as whole degrees. None = what
            the tracker finds out.
        name: shown to the tracker's operator.
        data_dir: key, vouchers and everything else that must outlive the process.
        listen: multiaddrs; none = all addresses, or loopback where the tracker is on loopback.
        port: libp2p port, TCP and UDP, where ``listen`` is not given; 0 = any free one.
        announce_address: multiaddrs that others should use instead (port forwarding).
        quic: False leaves QUIC out (p2pd's is of 2023: CVE-2024-22189).
        queue_limit: jobs that may wait for each model.
        job_input_max_bytes: of the files that one job brings, such as audio; the protocol's limit is 100 MiB.
        exposure_credits: what is risked for one open grant, which other nodes may have spent already.
        drain_timeout_s: seconds that running jobs get to finish at a stop.
        memory_max_bytes: resident memory that the node's own process may take, without engines and p2pd.
        heartbeat_interval_s: seconds between heartbeats, which bring revocations; a tracker forgets a node that was
            silent for two minutes.
        max_power_watts: of each card; 0 = no limit.
        schedule: when to serve, ``HH:MM-HH:MM`` in local time, several separated by commas; empty = always.
        pause_when_busy: give way while another program uses a card. busy_percent: of a card's time that counts as use.
    """

    section: ClassVar[str] = "node"
    refusal: ClassVar[type[GpunodeError]] = InvalidSettings

    model_config = SettingsConfigDict(
        env_prefix="GPUNODE_", frozen=True, extra="ignore", env_ignore_empty=True, protected_namespaces=()
    )

    bootstrap: str = ""
    ca_file: Path | None = None
    insecure: bool = False
    network_id: NetworkId | None = None
    model: Annotated[Texts, MaxLen(MAX_MODELS)] = ()
    region: Region | None = None
    country: Annotated[str, Field(pattern=r"^([A-Z]{2})?$")] = ""
    latitude: Annotated[float, Ge(-90), Le(90)] | None = None
    longitude: Annotated[float, Ge(-180), Le(180)] | None = Field(default=None, validate_default=True)
    name: Annotated[str, MaxLen(100)] = ""
    data_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("gpunode") / "node")
    listen: Texts = ()
    port: Annotated[int, Ge(0), Le(65_535)] = 0
    announce_address: Texts = ()
    quic: bool = True
    queue_limit: Annotated[int, Ge(0), Le(10_000)] = DEFAULT_QUEUE_LIMIT
    job_input_max_bytes: Annotated[int, Ge(1024**2), Le(MAX_BLOB_BYTES)] = DEFAULT_INPUT_LIMIT_BYTES
    exposure_credits: Annotated[int, Ge(0), Le(1_000_000_000)] = 50
    drain_timeout_s: Annotated[float, Ge(0), Le(3_600)] = 120.0
    max_power_watts: Annotated[int, Ge(0), Le(10_000)] = 0
    schedule: str = ""
    pause_when_busy: bool = False
    busy_percent: Annotated[int, Ge(1), Le(100)] = 25
    memory_max_bytes: Annotated[int, Ge(64 * 1024**2)] = 2 * 1024**3
    heartbeat_interval_s: Annotated[float, Ge(1), Le(HEARTBEAT_INTERVAL_S)] = float(HEARTBEAT_INTERVAL_S)

    @field_validator("model", "listen", "announce_address", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return tuple(value) if isinstance(value, list) else value

    @field_validator("schedule")
    @classmethod
    def _check_schedule(cls, value: str) -> str:
        return Schedule.parse(value).text

    @field_validator("longitude")
    @classmethod
    def _check_both(cls, longitude: float | None, info: ValidationInfo) -> float | None:
        if "latitude" in info.data and (longitude is None) != (info.data["latitude"] is None):
            raise ValueError("latitude and longitude belong together, give both or neither")
        return longitude

    @property
    def position(self) -> Position | None:
        """Where the owner says that this node is, in whole degrees."""
        if self.latitude is None or self.longitude is None:
            return None
        return Position.rounded(self.latitude, self.longitude)

    @property
    def tracker(self) -> str:
        """The tracker's URL, without a slash at the end.

        Raises:
            NoBootstrap: none was named. BadTrackerAddress: it cannot be used.
        """
        if not self.bootstrap:
            raise NoBootstrap
        return tracker_url(self.bootstrap, insecure=self.insecure)

    @property
    def private_folders(self) -> tuple[Path, ...]:
        """See ``EngineSettings``."""
        return (self.data_dir,)

    @property
    def listen_addresses(self) -> tuple[str, ...]:
        """Multiaddrs to listen on."""
        host = "127.0.0.1" if is_loopback_url(self.tracker) else "0.0.0.0"  # noqa: S104 -- a node serves strangers
        return self.listen or (f"/ip4/{host}/tcp/{self.port}", f"/ip4/{host}/udp/{self.port}/quic-v1")

    @property
    def exposure_microcredits(self) -> int:
        """``exposure_credits`` in micro-credits."""
        return self.exposure_credits * MICROCREDITS_PER_CREDIT
