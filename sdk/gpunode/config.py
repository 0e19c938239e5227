"""Settings of the client: arguments win over ``GPUNODE_*`` variables, those over ``[client]`` in TOML."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Self

from annotated_types import Ge, Gt, Le
from gpunode_protocol.errors import BadTrackerAddress
from gpunode_protocol.prices import MICROCREDITS_PER_CREDIT
from gpunode_protocol.regions import Region
from gpunode_protocol.tracker_url import tracker_url
from gpunode_protocol.validation import NetworkId, first_problem
from pydantic import SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from gpunode.errors import InvalidSettings

#: Names the TOML file; without it, ``gpunode.toml`` in the current folder is read if there is one.
CONFIG_VARIABLE: Final = "GPUNODE_CONFIG"
_DEFAULT_FILE: Final = "gpunode.toml"


class ClientConfig(BaseSettings):
    """How a client reaches its network.

    Args:
        tracker: ``HOST[:PORT]`` or a URL; plain http only to loopback or with ``insecure``.
        api_key: an account's key. api_key_file: a file that holds it; a relative path counts from the current folder.
        ca_file: PEM file of certificate authorities to trust instead of the system's.
        insecure: allow plain http to any host; whoever is in between can then read the API key.
        state_dir: keeps key, pinned network, grants and good nodes; the platform's folder when not given.
        region: where this client is; nodes there are asked first. None = everywhere at once.
        network_id: 40 hex digits; the tracker must belong to this network, even at first contact.
        job_timeout_s: seconds for one job in all, all attempts together.
        max_attempts: nodes tried before the first output.
        grant_microcredits: what one grant reserves of the account's credits; more for a job that may cost more.
    """

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

    @classmethod
    def load(cls, arguments: Mapping[str, Any]) -> Self:
        """Return the settings; arguments that are None count as not given.

        Raises:
            InvalidSettings: naming the setting and what is wrong with it.
        """
        try:
            return cls(**{name: value for name, value in arguments.items() if value is not None})
        except ValidationError as error:
            raise InvalidSettings(f"The client's settings are not valid: {first_problem(error)}.") from error
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise InvalidSettings(f"The configuration file cannot be read: {error}.") from error

    @model_validator(mode="after")
    def _check_tracker(self) -> Self:
        if self.tracker:
            self.tracker_url()
        return self

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
            InvalidSettings: the file cannot be read, or is empty.
        """
        if self.api_key is not None:
            return self.api_key.get_secret_value().strip() or None
        if self.api_key_file is None:
            return None
        try:
            key = self.api_key_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise InvalidSettings(f"The API key file {self.api_key_file} cannot be read: {error.strerror}.") from error
        if not key:
            raise InvalidSettings(f"The API key file {self.api_key_file} is empty.")
        return key

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
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file, ("client",))
