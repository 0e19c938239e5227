"""Settings: what wins over what, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
from gpunode_protocol.tasks import Task
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.errors import InvalidSettings


def test_defaults_need_nothing() -> None:
    """Without any configuration: loopback, port 8470, libp2p on 4001, SQLite in the platform's folder."""
    settings = TrackerSettings.load({})
    assert settings.http_address == ("127.0.0.1", 8470)
    assert settings.mesh_addresses == ("/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1")
    assert settings.sqlalchemy_url == f"sqlite+aiosqlite:///{settings.data_dir}/tracker.db"
    assert (settings.initial_credits, settings.open_registration) == (1_000, False)
    assert settings.default_models[Task.LLM] == "smollm2-135m"
    assert set(settings.default_models) == set(Task)


def test_option_environment_file_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option wins over the environment, that over the file, and the file over the default."""
    file = tmp_path / "my.toml"
    file.write_text(
        '[tracker]\ninitial_credits = 1\nmesh_port = 2\nlisten = "127.0.0.1:3"\ndefault_models = {llm = "x"}\n'
    )
    monkeypatch.setenv("GPUNODE_CONFIG", str(file))
    monkeypatch.setenv("GPUNODE_TRACKER_MESH_PORT", "20")
    monkeypatch.setenv("GPUNODE_TRACKER_LISTEN", "127.0.0.1:30")
    settings = TrackerSettings.load({"listen": "127.0.0.1:300", "mesh_port": None, "mesh_listen": ()})
    assert (settings.initial_credits, settings.mesh_port) == (1, 20)
    assert settings.http_address == ("127.0.0.1", 300)
    assert settings.default_models == {Task.LLM: "x"}


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was named must exist."""
    monkeypatch.setenv("GPUNODE_CONFIG", "nowhere.toml")
    with pytest.raises(InvalidSettings, match=r"nowhere\.toml"):
        TrackerSettings.load({})


def test_plain_http_stays_on_loopback() -> None:
    """Beyond loopback it needs TLS or an explicit word."""
    with pytest.raises(InvalidSettings, match="plain http"):
        TrackerSettings.load({"listen": "0.0.0.0:8470"})
    assert TrackerSettings.load({"listen": "0.0.0.0:1", "insecure": True}).http_address == ("0.0.0.0", 1)
    assert TrackerSettings.load({"listen": "[::1]:1"}).http_address == ("::1", 1)
    assert TrackerSettings.load({"listen": "localhost:1"}).http_address == ("localhost", 1)


def test_tls_listens_everywhere(tmp_path: Path) -> None:
    """With a certificate the default is all addresses; certificate and key come together."""
    files = {"tls_cert": tmp_path / "c.pem", "tls_key": tmp_path / "k.pem"}
    assert TrackerSettings.load(files).http_address == ("0.0.0.0", 8470)
    with pytest.raises(InvalidSettings, match="both"):
        TrackerSettings.load({"tls_cert": tmp_path / "c.pem"})


@pytest.mark.parametrize("listen", ["8470", "host:", ":1", "127.0.0.1:x", "127.0.0.1:99999"])
def test_listen_is_host_and_port(listen: str) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(InvalidSettings, match="HOST:PORT"):
        TrackerSettings.load({"listen": listen})


@pytest.mark.parametrize("lease_s", [44, 151])
def test_leases_have_bounds(lease_s: int) -> None:
    """Shorter than two heartbeats, or longer than a worker's silence: neither can work."""
    with pytest.raises(InvalidSettings, match="lease_s"):
        TrackerSettings.load({"lease_s": lease_s})


def test_wrong_values_are_named() -> None:
    """The message names the setting."""
    with pytest.raises(InvalidSettings, match="mesh_port"):
        TrackerSettings.load({"mesh_port": 70_000})


def test_the_database_url_is_not_shown() -> None:
    """It may hold a password."""
    settings = TrackerSettings.load({"database_url": "postgresql+asyncpg://u:secret@h/d"})
    assert "secret" not in repr(settings)
    assert settings.sqlalchemy_url == "postgresql+asyncpg://u:secret@h/d"


@pytest.mark.parametrize("show", [repr, str, lambda settings: str(settings.model_dump())])
def test_no_way_to_print_settings_shows_the_password(show: Callable[[TrackerSettings], str]) -> None:
    """Not even all of them at once."""
    assert "secret" not in show(TrackerSettings.load({"database_url": "postgresql://u:secret@h/d"}))


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "postgresql://u:secret/x@h/d"])
def test_a_database_url_that_cannot_be_used(url: str) -> None:
    """It is refused at once, and not repeated."""
    with pytest.raises(InvalidSettings, match="database URL") as caught:
        TrackerSettings.load({"database_url": url})
    assert "secret" not in str(caught.value)


def test_where_the_database_url_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option, the tracker's own variable, the file; and what hosting platforms set, if nothing else names one."""
    urls = {name: f"postgresql+asyncpg://h/{name}" for name in ("platform", "file", "own", "option")}
    assert TrackerSettings.load({}).database_url is None
    monkeypatch.setenv("DATABASE_URL", "postgres://h/platform")
    assert TrackerSettings.load({}).sqlalchemy_url == urls["platform"]
    file = tmp_path / "my.toml"
    file.write_text('[tracker]\ndatabase_url = "postgres://h/file"\n')
    monkeypatch.setenv("GPUNODE_CONFIG", str(file))
    assert TrackerSettings.load({}).sqlalchemy_url == urls["file"]
    monkeypatch.setenv("GPUNODE_TRACKER_DATABASE_URL", "postgres://h/own")
    assert TrackerSettings.load({}).sqlalchemy_url == urls["own"]
    assert TrackerSettings.load({"database_url": "postgres://h/option"}).sqlalchemy_url == urls["option"]


def test_trusted_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses and networks, in the environment separated by commas; anything else is named."""
    assert TrackerSettings.load({}).proxy_networks == ()
    monkeypatch.setenv("GPUNODE_TRACKER_TRUSTED_PROXIES", "10.0.0.7, fd00::/64")
    assert [str(network) for network in TrackerSettings.load({}).proxy_networks] == ["10.0.0.7/32", "fd00::/64"]
    with pytest.raises(InvalidSettings, match="trusted_proxies: 'proxy'"):
        TrackerSettings.load({"trusted_proxies": ("proxy",)})


def test_several_values_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Separated by commas, for addresses too."""
    monkeypatch.setenv("GPUNODE_TRACKER_MESH_LISTEN", "/ip4/127.0.0.1/tcp/1,/ip4/127.0.0.1/tcp/2")
    assert TrackerSettings.load({}).mesh_addresses == ("/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/2")


def test_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tracker's own variable wins over the platform's, what is no URL is refused, and none is shown."""
    assert TrackerSettings.load({}).redis_url is None
    monkeypatch.setenv("REDIS_URL", "redis://:secret@h")
    settings = TrackerSettings.load({})
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://:secret@h"
    assert "secret" not in repr(settings)
    monkeypatch.setenv("GPUNODE_TRACKER_REDIS_URL", "http://:secret@h")
    with pytest.raises(InvalidSettings, match="redis_url is not a URL of Redis") as refused:
        TrackerSettings.load({})
    assert ":secret@" not in str(refused.value)
