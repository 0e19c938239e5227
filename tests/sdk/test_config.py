from pathlib import Path

import pytest
from gpunode.config import ClientConfig
from gpunode.errors import InvalidSettings
from gpunode.routing import NO_LIMITS, Limits
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No gpunode.toml of the developer takes part."""
    monkeypatch.chdir(tmp_path)


def test_arguments_win_over_environment_over_file_over_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four sources, one order."""
    (tmp_path / "gpunode.toml").write_text(
        '[client]\ntracker = "https://file"\nregion = "asia"\nmax_attempts = 7\n', encoding="utf-8"
    )
    monkeypatch.setenv("GPUNODE_TRACKER", "https://environment")
    monkeypatch.setenv("GPUNODE_REGION", "europe")
    config = ClientConfig.load({"tracker": "https://argument", "region": None})
    assert (config.tracker, config.region, config.max_attempts) == ("https://argument", Region.EUROPE, 7)
    assert config.job_timeout_s == 600


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://tracker.example/", "https://tracker.example"),
        ("tracker.example", "https://tracker.example"),
        ("tracker.example:8470", "https://tracker.example:8470"),
        ("http://127.0.0.1:8470", "http://127.0.0.1:8470"),
        ("http://[::1]:8470", "http://[::1]:8470"),
        ("http://localhost", "http://localhost"),
    ],
)
def test_addresses(given: str, url: str) -> None:
    """https unless said otherwise, plain http to loopback."""
    assert ClientConfig.load({"tracker": given}).tracker_url() == url


@pytest.mark.parametrize("address", ["ftp://x", "https://", "https://user:pass@x", "https://x?y=1"])
def test_what_is_no_address_is_refused(address: str) -> None:
    """With an example."""
    with pytest.raises(InvalidSettings, match=r"tracker\.example"):
        ClientConfig.load({"tracker": address})


def test_plain_http_elsewhere_must_be_accepted() -> None:
    """The API key would be readable on the way."""
    with pytest.raises(InvalidSettings, match="insecure"):
        ClientConfig.load({"tracker": "http://10.0.0.7:8470"})
    assert ClientConfig.load({"tracker": "http://10.0.0.7:8470", "insecure": True}).tracker


def test_without_a_tracker_there_is_help() -> None:
    """Only when it is needed: checking a proof needs none."""
    with pytest.raises(InvalidSettings, match="GPUNODE_TRACKER"):
        ClientConfig.load({}).tracker_url()


def test_the_api_key_does_not_show(tmp_path: Path) -> None:
    """Neither in repr nor when it comes from a file."""
    assert "hunter2" not in repr(ClientConfig.load({"api_key": "hunter2"}))
    (tmp_path / "key").write_text("hunter2\n", encoding="utf-8")
    config = ClientConfig.load({"api_key_file": tmp_path / "key"})
    assert config.read_api_key() == "hunter2"
    assert ClientConfig.load({}).read_api_key() is None


def test_an_api_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Missing or empty."""
    with pytest.raises(InvalidSettings, match="none"):
        ClientConfig.load({"api_key_file": tmp_path / "none"}).read_api_key()
    (tmp_path / "empty").write_text("", encoding="utf-8")
    with pytest.raises(InvalidSettings, match="empty"):
        ClientConfig.load({"api_key_file": tmp_path / "empty"}).read_api_key()


@pytest.mark.parametrize("content", [b"gpn_a\nsecond-line", b"gpn_\xd0\xff", "gpn_é".encode(), b"two words"])
def test_what_is_no_api_key_is_not_sent_and_not_shown(tmp_path: Path, content: bytes) -> None:
    """A key is one word of printable ASCII; another file than meant may hold other secrets."""
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(InvalidSettings, match="key holds no API key") as caught:
        ClientConfig.load({"api_key_file": tmp_path / "key"}).read_api_key()
    assert "gpn_" not in str(caught.value)
    assert "two" not in str(caught.value)


def test_a_setting_that_is_no_api_key() -> None:
    """As with a file."""
    with pytest.raises(InvalidSettings, match="is no API key"):
        ClientConfig.load({"api_key": "two\nlines"}).read_api_key()


def test_a_named_key_file_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments come first, else another account would pay."""
    monkeypatch.setenv("GPUNODE_API_KEY", "gpn_environment")
    (tmp_path / "key").write_text("gpn_file", encoding="utf-8")
    assert ClientConfig.load({"api_key_file": tmp_path / "key"}).read_api_key() == "gpn_file"
    assert ClientConfig.load({}).read_api_key() == "gpn_environment"


def test_wrong_settings_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo in the file, a region that there is not, a file that is no TOML."""
    with pytest.raises(InvalidSettings, match="region"):
        ClientConfig.load({"region": "mars"})
    (tmp_path / "gpunode.toml").write_text("[client]\ntrakcer = 1\n", encoding="utf-8")
    with pytest.raises(InvalidSettings, match="trakcer"):
        ClientConfig.load({})
    (tmp_path / "gpunode.toml").write_text("[client\n", encoding="utf-8")
    with pytest.raises(InvalidSettings, match="configuration file"):
        ClientConfig.load({})
    monkeypatch.setenv("GPUNODE_CONFIG", str(tmp_path / "other.toml"))
    with pytest.raises(InvalidSettings, match=r"other\.toml"):
        ClientConfig.load({})


def test_what_nodes_must_fulfil(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are separated by commas in the environment; what no node could fulfil is refused."""
    one, other = (Identity.from_seed(bytes([number]) * 32).peer_id for number in (1, 2))
    assert ClientConfig.load({}).limits() == NO_LIMITS
    monkeypatch.setenv("GPUNODE_DENY_NODES", f"{one}, {other}")
    monkeypatch.setenv("GPUNODE_WIDEN", "false")
    monkeypatch.setenv("GPUNODE_EXCLUDE_DOUBTFUL_PLACES", "true")
    monkeypatch.setenv("GPUNODE_MAX_PRICE_CREDITS", "0.5")
    config = ClientConfig.load({"allow_nodes": [other], "min_sandbox": 2, "own_nodes": True, "fingerprint": "a" * 64})
    assert config.limits() == Limits(
        allow_nodes=frozenset({other}),
        deny_nodes=frozenset({one, other}),
        own_nodes=True,
        max_price_credits=0.5,
        min_sandbox=2,
        fingerprint="a" * 64,
        widen=False,
        exclude_doubtful_places=True,
    )
    for bad, told in (({"allow_nodes": ["x"]}, "whole node id"), ({"min_sandbox": 4}, "min_sandbox")):
        with pytest.raises(InvalidSettings, match=told):
            ClientConfig.load(bad)
