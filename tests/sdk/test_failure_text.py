"""Failures as one line for the user."""

import errno
import sys
import tomllib
from importlib.metadata import metadata

import pytest
from gpunode.failure_text import EXTRA_OF_PACKAGE, describe
from gpunode_protocol.errors import GpunodeError, Untrusted
from pydantic import BaseModel, Field, SecretStr, ValidationError


class _Settings(BaseModel):
    port: int = Field(lt=65536)
    password: SecretStr = Field(min_length=64)


def test_a_user_message_is_printed_as_it_is() -> None:
    """A GpunodeError carries its own message, and nothing is added to it."""
    assert describe(GpunodeError("The tracker is away.\nTry later.")) == "The tracker is away. Try later."


def test_a_user_message_can_be_the_docstring() -> None:
    """An error without arguments is described by its class's docstring."""
    assert describe(Untrusted()) == Untrusted.__doc__


@pytest.mark.parametrize(("module", "extra"), [("hivemind", "mesh"), ("sqlalchemy.ext", "tracker")])
def test_a_missing_optional_package_names_its_extra(module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user reads which extra to install, also when a submodule was imported."""
    monkeypatch.setattr(sys, "platform", "linux")
    error = ModuleNotFoundError(f"No module named '{module}'", name=module)
    assert describe(error).endswith(f"Run: pip install 'gpunode[{extra}]'")


def test_windows_users_are_not_told_to_install_what_windows_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """hivemind has no Windows build, so the pull worker is proposed instead of an extra; so it is for Unix' own."""
    monkeypatch.setattr(sys, "platform", "win32")
    for name in ("hivemind", "fcntl", "resource"):
        assert "--pull" in describe(ModuleNotFoundError("no", name=name))


def test_every_named_extra_exists() -> None:
    """pyproject.toml declares each extra that a message can name."""
    declared = metadata("gpunode").get_all("Provides-Extra") or []
    assert set(EXTRA_OF_PACKAGE.values()) <= set(declared)


def test_an_unknown_missing_module_is_a_bug() -> None:
    """A module that no extra installs is not blamed on the user."""
    assert "This is a bug in gpunode" in describe(ModuleNotFoundError("no", name="gpunode_lost"))


def test_wrong_settings_are_named_without_their_values() -> None:
    """Fields and complaints are printed, the refused values are not."""
    with pytest.raises(ValidationError) as caught:
        _Settings.model_validate({"port": 70000, "password": "hunter2"})
    line = describe(caught.value)
    assert "port: must be less than 65,536" in line
    assert "password:" in line
    assert "hunter2" not in line
    assert "70000" not in line


def test_broken_toml_is_reported_with_its_position() -> None:
    """The line and column of a syntax error in the configuration file are kept."""
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads("[node]\nport 8470")
    assert "line 2" in describe(caught.value)


def test_a_full_disk_tells_what_to_do() -> None:
    """An operating system's refusal names the file and the next step."""
    error = OSError(errno.ENOSPC, "No space left on device", "outbox.sqlite3")
    assert describe(error) == "No space left on device: outbox.sqlite3. Free some disk space and start again."


def test_an_error_of_the_system_without_details_keeps_its_type() -> None:
    """Even a bare TimeoutError says more than an empty line."""
    assert describe(TimeoutError()).startswith("TimeoutError. ")


def test_a_group_is_described_by_its_user_message() -> None:
    """Of several failures at once, the one that was written for users is printed."""
    group = ExceptionGroup("tasks", [ValueError("inner"), ExceptionGroup("more", [GpunodeError("Start a node.")])])
    assert describe(group) == "Start a node."


def test_anything_else_is_called_a_bug_and_points_to_the_traceback() -> None:
    """An unexpected exception is named, and the user learns how to see more."""
    assert describe(ZeroDivisionError("division by zero")) == (
        "Unexpected ZeroDivisionError: division by zero. This is a bug in gpunode. "
        "Run the command again as 'gpunode --debug …' and report what it prints."
    )
