import json
from pathlib import Path

import pytest
from gpunode_protocol.identity import Identity
from gpunode_protocol.mesh.known_peers import MAX_KNOWN_PEERS, KnownPeers


def address(number: int, port: int = 4001) -> str:
    """Return a peer's address by number."""
    return f"/ip4/192.0.2.1/tcp/{port}/p2p/{Identity.from_seed(bytes([number]) * 32).peer_id}"


def test_peers_survive_a_restart(tmp_path: Path) -> None:
    """What was saved is known again, the newest first."""
    known = KnownPeers(tmp_path / "known_peers.json")
    known.remember([address(1), address(2)])
    known.save()
    assert KnownPeers(tmp_path / "known_peers.json").addresses() == (address(2), address(1))


def test_peer_has_one_address_its_newest() -> None:
    """A peer that moved is kept once."""
    known = KnownPeers(None)
    known.remember([address(1), address(2), address(1, port=5001)])
    assert known.addresses() == (address(1, port=5001), address(2))


def test_number_is_bounded() -> None:
    """The ones seen longest ago give way."""
    known = KnownPeers(None)
    known.remember(address(number) for number in range(MAX_KNOWN_PEERS + 5))
    assert len(known.addresses()) == MAX_KNOWN_PEERS
    assert address(0) not in known.addresses()


@pytest.mark.parametrize(
    "content", ["", "{", "{}", "[1, null]", '["/ip4/192.0.2.1/tcp/1"]', "\x00" * 100, "[" * 50_000]
)
def test_damaged_file_counts_as_empty(tmp_path: Path, content: str) -> None:
    """A bad cache never stops a start."""
    (tmp_path / "known_peers.json").write_text(content)
    assert KnownPeers(tmp_path / "known_peers.json").addresses() == ()


def test_a_disk_that_takes_nothing_keeps_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No draft is left behind on a disk that is full already."""
    path = tmp_path / "known_peers.json"
    known = KnownPeers(path)
    known.remember([address(1)])
    known.save()
    known.remember([address(2)])

    def fail(self: Path, _: Path) -> None:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="No space"):
        known.save()
    assert [item.name for item in tmp_path.iterdir()] == ["known_peers.json"]
    assert KnownPeers(path).addresses() == (address(1),)


def test_file_is_replaced_whole(tmp_path: Path) -> None:
    """Saving leaves no draft behind."""
    known = KnownPeers(tmp_path / "new" / "known_peers.json")
    known.remember([address(1)])
    known.save()
    known.save()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["known_peers.json"]
    assert json.loads((tmp_path / "new" / "known_peers.json").read_text()) == [address(1)]
