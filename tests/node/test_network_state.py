"""The pinned network and the tracker's newest word."""

from pathlib import Path
from typing import Any

import pytest
from gpunode_node.advert_judge import advert_judge
from gpunode_node.errors import OtherNetwork
from gpunode_node.network_state import NetworkState
from gpunode_protocol.errors import Untrusted
from gpunode_protocol.identity import Identity
from gpunode_protocol.keyset import KeySet, TrackerKey, key_id_of, network_id_of
from gpunode_protocol.prices import DEFAULT_PRICES
from gpunode_protocol.signing import sign
from gpunode_protocol.tracker_api import HeartbeatReply

from tests.node.fake_tracker import network_info
from tests.node.world import EPOCH, KEYSET, KID, NETWORK, OTHER, ROOT, TRACKER, revocations


def _heartbeat(**changes: Any) -> HeartbeatReply:
    fields: dict[str, Any] = {
        "revocations": revocations().envelope,
        "keyset": KEYSET.envelope,
        "bootstrap": (),
        "shard_bits": 0,
        "time": EPOCH,
    }
    return HeartbeatReply(**fields | changes)


def _other_network() -> dict[str, Any]:
    keys = KeySet(network=network_id_of(OTHER.public_key), sequence=1, issued_at=EPOCH, keys=())
    return {"root_public_key": OTHER.public_key, "keyset": sign(OTHER, keys).envelope}


def test_the_first_contact_pins(tmp_path: Path) -> None:
    """Another network is refused from then on, also by a new process, with both ids named."""
    path = tmp_path / "network.json"
    state = NetworkState(path)
    assert not state.is_known
    with pytest.raises(LookupError):
        _ = state.view
    state.accept(network_info())
    for each in (state, NetworkState(path)):
        assert each.is_known
        assert each.view.trust.network == NETWORK
        with pytest.raises(OtherNetwork, match=NETWORK):
            each.accept(network_info(**_other_network()))


def test_an_expected_network(tmp_path: Path) -> None:
    """The pin in the settings holds at first contact already."""
    with pytest.raises(OtherNetwork, match="--network-id"):
        NetworkState(tmp_path / "n.json", "f" * 40).accept(network_info())


def test_a_key_set_of_somebody_else(tmp_path: Path) -> None:
    """Nothing is pinned when the key set is not signed by the root key."""
    state = NetworkState(tmp_path / "n.json")
    with pytest.raises(Untrusted):
        state.accept(network_info(keyset=sign(OTHER, KEYSET.body).envelope))
    assert not state.is_known
    assert not (tmp_path / "n.json").exists()


def test_a_damaged_file_is_not_guessed(tmp_path: Path) -> None:
    """Whoever can damage the file must not be able to change the pin."""
    (tmp_path / "n.json").write_text("{}")
    with pytest.raises(OtherNetwork, match="damaged"):
        NetworkState(tmp_path / "n.json")


def test_heartbeats_bring_revocations(tmp_path: Path) -> None:
    """A newer list reaches jobs and the mesh's validator, and survives a restart; an older one changes nothing."""
    state = NetworkState(tmp_path / "n.json")
    state.accept(network_info())
    validator = advert_judge(state)
    state.accept_heartbeat(_heartbeat(revocations=revocations("bad", sequence=5).envelope))
    state.accept_heartbeat(_heartbeat(revocations=revocations(sequence=4).envelope))
    for each in (state.view.revocations, validator.revocations, NetworkState(tmp_path / "n.json").view.revocations):
        assert each is not None
        assert each.grants == ("bad",)


def test_forged_news_change_nothing(tmp_path: Path) -> None:
    """A heartbeat's lists count by their signatures only."""
    state = NetworkState(tmp_path / "n.json")
    state.accept(network_info())
    forged = sign(OTHER, revocations("all", sequence=9).body).envelope
    state.accept_heartbeat(_heartbeat(revocations=forged, keyset=sign(OTHER, KEYSET.body).envelope))
    assert state.view.revocations is not None
    assert state.view.revocations.grants == ()


def test_heartbeats_bring_keys_and_shard_bits(tmp_path: Path) -> None:
    """A newer key set is believed by everyone who asks; both bit counts are announced under after a change."""
    new = Identity.from_seed(b"\x09" * 32)
    keys = (*KEYSET.body.keys, TrackerKey(kid=key_id_of(new.public_key), public_key=new.public_key, not_before=EPOCH))
    keyset = sign(ROOT, KeySet(network=NETWORK, sequence=2, issued_at=EPOCH, keys=keys))
    state = NetworkState(tmp_path / "n.json")
    state.accept(network_info())
    validator = advert_judge(state)
    state.accept_heartbeat(
        _heartbeat(keyset=keyset.envelope, shard_bits=3, previous_shard_bits=2, bootstrap=("/ip4/11.0.0.1/tcp/1",))
    )
    assert validator.trust.keyset.body.sequence == 2
    assert NetworkState(tmp_path / "n.json").view.trust.keyset.body.sequence == 2
    assert state.shard_bits == (3, 2)
    assert state.info.bootstrap == ("/ip4/11.0.0.1/tcp/1",)


def test_known_bootstrap_peers_are_kept(tmp_path: Path) -> None:
    """A tracker that has just started names none yet."""
    state = NetworkState(tmp_path / "n.json")
    peers = ("/ip4/11.0.0.1/tcp/1",)
    state.accept(network_info(bootstrap=peers))
    state.accept(network_info(bootstrap=()))
    state.accept_heartbeat(_heartbeat())
    assert state.info.bootstrap == NetworkState(tmp_path / "n.json").info.bootstrap == peers


def test_new_prices(tmp_path: Path) -> None:
    """Network info brings prices, and those of before are remembered; revocations never go back."""
    state = NetworkState(tmp_path / "n.json")
    state.accept(network_info(revocations=revocations("bad", sequence=5).envelope))
    prices = DEFAULT_PRICES.model_copy(update={"version": 2})
    state.accept(network_info(prices=prices))
    assert state.view.prices.version == 2
    assert state.view.earlier_prices == (DEFAULT_PRICES,)
    assert state.view.revocations is not None
    assert state.view.revocations.grants == ("bad",)
    assert key_id_of(TRACKER.public_key) == KID
