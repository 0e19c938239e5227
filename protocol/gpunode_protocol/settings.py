"""Where settings come from, the same for every program: option > ``GPUNODE_*`` > section of a TOML file > default."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from gpunode_protocol.errors import GpunodeError, InvalidSettings
from gpunode_protocol.validation import first_problem

CONFIG_VARIABLE: Final = "GPUNODE_CONFIG"
"""Names the TOML file; without it, ``gpunode.toml`` in the current folder is read if there is one."""
DEFAULT_CONFIG_FILE: Final = "gpunode.toml"


def config_file() -> Path:
    """Return the TOML file that is read if it is there."""
    return Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG_FILE)


class _Section(TomlConfigSettingsSource):
    """One table of the TOML file."""

    def _read_file(self, file_path: Any) -> dict[str, Any]:
        """Return the file's tables. Raises TOMLDecodeError: it is no such file."""
        try:
            content = super()._read_file(file_path)
        except RecursionError as error:
            raise tomllib.TOMLDecodeError("it is nested too deeply") from error
        for name in self.toml_table_header:
            if not isinstance(content.get(name, {}), dict):
                raise tomllib.TOMLDecodeError(f"{name} is no table; its settings stand below the line [{name}]")
        return content


class LayeredSettings(BaseSettings):
    """Base of a program's settings.

    section: of the TOML file, also the program's name in messages. refusal: what ``load`` raises.
    """

    model_config = SettingsConfigDict(hide_input_in_errors=True)  # what does not validate may be a password

    section: ClassVar[str]
    refusal: ClassVar[type[GpunodeError]] = InvalidSettings

    @classmethod
    def load(cls, arguments: Mapping[str, Any]) -> Self:
        """Return the settings; arguments that are None or empty count as not given.

        Raises:
            GpunodeError: ``refusal``, naming the setting and what is wrong with it.
        """
        try:
            return cls(**{name: value for name, value in arguments.items() if value not in (None, (), [])})
        except ValidationError as error:
            raise cls.refusal(f"The {cls.section}'s settings are not valid: {first_problem(error)}.") from error
        except SettingsError as error:  # which quotes the setting's name first
            name = str(error).partition('"')[2].partition('"')[0]
            raise cls.refusal(
                f"The {cls.section}'s settings are not valid: {name}: must be JSON in the environment."
            ) from error
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            what = error.strerror if isinstance(error, OSError) else error
            raise cls.refusal(f"The configuration file {config_file().absolute()} cannot be read: {what}.") from error

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
        file = config_file()
        if os.environ.get(CONFIG_VARIABLE) and not file.is_file():
            raise cls.refusal(f"There is no configuration file {file}.")
        try:
            return init_settings, env_settings, _Section(settings_cls, file, (cls.section,))
        except KeyError:  # the file has sections for other programs only
            return init_settings, env_settings
