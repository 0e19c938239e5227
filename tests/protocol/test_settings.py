import re
from pathlib import Path
from typing import ClassVar

import pytest
from gpunode_protocol.errors import GpunodeError, InvalidSettings
from gpunode_protocol.settings import LayeredSettings
from pydantic import Field
from pydantic_settings import SettingsConfigDict


class Sample(LayeredSettings):
    """Settings of an imaginary program."""

    section: ClassVar[str] = "sample"

    model_config = SettingsConfigDict(env_prefix="GPUNODE_SAMPLE_", frozen=True, extra="forbid", env_ignore_empty=True)

    port: int = 1
    name: str = ""
    ports: dict[str, int] = Field(default_factory=dict)


class Refused(GpunodeError):
    """What the strict program raises."""


class Strict(Sample):
    """The same with an error of its own."""

    refusal: ClassVar[type[GpunodeError]] = Refused


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, an empty one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_argument_wins_over_the_environment_that_over_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each layer counts where the ones above are silent; None is silence."""
    (folder / "gpunode.toml").write_text('[sample]\nport = 2\nname = "file"\n', encoding="utf-8")
    assert Sample.load({"port": None}).port == 2
    monkeypatch.setenv("GPUNODE_SAMPLE_PORT", "3")
    assert Sample.load({}).port == 3
    settings = Sample.load({"port": 4})
    assert (settings.port, settings.name) == (4, "file")


def test_only_the_own_section_is_read(folder: Path) -> None:
    """Other programs' settings may stand in the same file."""
    (folder / "gpunode.toml").write_text("[other]\nport = 2\n", encoding="utf-8")
    assert Sample.load({}).port == 1


def test_the_file_may_be_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUNODE_CONFIG names it, and a named one must be there."""
    named = folder / "elsewhere.toml"
    monkeypatch.setenv("GPUNODE_CONFIG", str(named))
    with pytest.raises(InvalidSettings, match=r"elsewhere\.toml"):
        Sample.load({})
    named.write_text("[sample]\nport = 5\n", encoding="utf-8")
    assert Sample.load({}).port == 5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[sample", "Expected"),
        (b"\xff", "utf-8"),
        (b'[sample]\nport = "x"\n', "port"),
        (b"sample = 5", r"cannot be read: sample is no table; its settings stand below the line \[sample\]"),
        (b"[[sample]]\nport = 2\n", "sample is no table"),
        (b"sample = " + 5_000 * b"[", "nested too deeply"),
    ],
)
def test_a_bad_file_is_refused_with_the_reason(folder: Path, content: bytes, words: str) -> None:
    """What cannot be parsed, and what has the wrong type."""
    (folder / "gpunode.toml").write_bytes(content)
    with pytest.raises(InvalidSettings, match=words):
        Sample.load({})


def test_a_file_that_cannot_be_parsed_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its whole path: which one is read depends on the current folder, which nobody remembers of a service."""
    file = folder / "gpunode.toml"
    file.write_text("[sample", encoding="utf-8")
    with pytest.raises(InvalidSettings, match=f"^The configuration file {re.escape(str(file))} cannot be read"):
        Sample.load({})
    named = folder / "named.toml"
    named.write_text("[sample", encoding="utf-8")
    monkeypatch.setenv("GPUNODE_CONFIG", str(named))
    with pytest.raises(InvalidSettings, match=re.escape(str(named))):
        Sample.load({})


@pytest.mark.usefixtures("folder")
def test_a_variable_that_must_hold_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its setting is named, its value is not."""
    monkeypatch.setenv("GPUNODE_SAMPLE_PORTS", "secret")
    with pytest.raises(InvalidSettings) as raised:
        Sample.load({})
    assert str(raised.value) == "The sample's settings are not valid: ports: must be JSON in the environment."


@pytest.mark.usefixtures("folder")
def test_a_program_raises_its_own_error() -> None:
    """It stays within the program's tree of exceptions."""
    with pytest.raises(Refused, match="sample's settings are not valid: port"):
        Strict.load({"port": "many"})
