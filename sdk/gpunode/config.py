"""Settings of the client: arguments win over ``GPUNODE_*`` variables, those over ``[client]`` in TOML."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from annotated_types import Ge, Gt, Le
from gpunode_protocol.api_key_text import can_be_api_key
from gpunode_protocol.errors import BadTrackerAddress, GpunodeError
from gpunode_protocol.prices import MICROCREDITS_PER_CREDIT
from gpunode_protocol.regions import Region
from gpunode_protocol.settings import LayeredSettings
from gpunode_protocol.tracker_url import tracker_url
from gpunode_protocol.validation import NetworkId
from pydantic import SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from gpunode.errors import InvalidRequest, InvalidSettings
from gpunode.routing import MAX_SANDBOX_LEVEL, Limits

Texts = Annotated[tuple[str, ...], NoDecode]
"""In the environment: separated by commas."""


class ClientConfig(LayeredSettings):
    """How a client reaches its network.

    Args:
        tracker: ``HOST[:PORT]`` or a URL; plain http only to loopback or with ``insecure``.
        api_key: an account's key. api_key_file: a file that holds it; a relative path counts from the current folder.
        ca_file: PEM file of certificate authorities to trust instead of the system's.
        insecure: allow plain http to any host; whoever is in between can then read the API key.
        state_dir: keeps key, pinned network, grants and good nodes; the platform's folder when not given.
        region: where this client is; nodes there are asked first. None = found out (docs/routing.md); until then
            everywhere at once.
        network_id: 40 hex digits; the tracker must belong to this network, even at first contact.
        job_timeout_s: seconds for one job in all, all attempts together.
        max_attempts: nodes tried before the first output, until the network is searched again (docs/failover.md).
        grant_microcredits: what one grant reserves of the account's credits; more for a job that may cost more.
        allow_nodes, deny_nodes, own_nodes, max_price_credits, min_sandbox, fingerprint, widen, exclude_doubtful_places:
            which nodes may do jobs; see ``routing.Limits``.
    """

    section: ClassVar[str] = "client"
    refusal: ClassVar[type[GpunodeError]] = InvalidSettings

    model_config = SettingsConfigDict(env_prefix="GPUNODE_", frozen=True, extra="forbid", env_ignore_empty=True)

    tracker: str = ""
    api_key: SecretStr | None = None
    api_key_file: Path | None = None
    ca_file: Path | None = None
    insecure: bool = False
    state_dir: Path | None = None
    region: Region | None = None
    network_id: NetworkId | None = None
    job_timeout_s: Annotated[float, Gt(0), Le(86_400)] = 600.0
    max_attempts: Annotated[int, Ge(1), Le(32)] = 4
    grant_microcredits: Annotated[int, Ge(1)] = 10 * MICROCREDITS_PER_CREDIT
    allow_nodes: Texts = ()
    deny_nodes: Texts = ()
    own_nodes: bool = False
    max_price_credits: Annotated[float, Ge(0)] | None = None
    min_sandbox: Annotated[int, Ge(0), Le(MAX_SANDBOX_LEVEL)] = 0
    fingerprint: str | None = None
    widen: bool = True
    exclude_doubtful_places: bool = False

    @classmethod
    def load(cls, arguments: Mapping[str, Any]) -> Self:
        """See ``LayeredSettings``; a key file among the arguments wins over a key from the environment or the file."""
        config = super().load(arguments)
        names_file = bool(arguments.get("api_key_file")) and not arguments.get("api_key")
        return config.model_copy(update={"api_key": None}) if names_file else config

    @field_validator("allow_nodes", "deny_nodes", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_tracker(self) -> Self:
        if self.tracker:
            self.tracker_url()
        self.limits()
        return self

    def limits(self) -> Limits:
        """Return what the nodes of a job must fulfil unless a call says otherwise.

        Raises:
            InvalidSettings: a value that no node could fulfil.
        """
        try:
            return Limits(
                allow_nodes=frozenset(self.allow_nodes),
                deny_nodes=frozenset(self.deny_nodes),
                own_nodes=self.own_nodes,
                max_price_credits=self.max_price_credits,
                min_sandbox=self.min_sandbox,
                fingerprint=self.fingerprint,
                widen=self.widen,
                exclude_doubtful_places=self.exclude_doubtful_places,
            )
        except InvalidRequest as error:
            raise InvalidSettings(str(error)) from error

    def tracker_url(self) -> str:
        """Return the tracker's URL.

        Raises:
            InvalidSettings: none was given, or it cannot be used.
        """
        if not self.tracker:
            raise InvalidSettings(
                "No tracker is set. Give its address: InferenceClient('https://tracker.example'), "
                "--tracker https://tracker.example, or the environment variable GPUNODE_TRACKER."
            )
        try:
            return tracker_url(self.tracker, insecure=self.insecure)
        except BadTrackerAddress as error:
            raise InvalidSettings(str(error)) from error

    def read_api_key(self) -> str | None:
        """Return the API key from the setting or its file.

        Raises:
            InvalidSettings: the file cannot be read or is empty, or there is something else than a key.
        """
        if self.api_key is not None:
            key = self.api_key.get_secret_value().strip()
            if key and not can_be_api_key(key):
                raise InvalidSettings("What is set as api_key or GPUNODE_API_KEY is no API key: it is not one word.")
            return key or None
        if self.api_key_file is None:
            return None
        try:
            key = self.api_key_file.read_text(encoding="utf-8", errors="replace").strip()
        except OSError as error:
            raise InvalidSettings(f"The API key file {self.api_key_file} cannot be read: {error.strerror}.") from error
        if not key:
            raise InvalidSettings(f"The API key file {self.api_key_file} is empty.")
        if not can_be_api_key(key):
            raise InvalidSettings(f"The file {self.api_key_file} holds no API key: that would be one word.")
        return key
