"""The judge of adverts follows the network; see ``test_network_state`` for what changes it."""

from pathlib import Path

from gpunode_node.advert_judge import advert_judge
from gpunode_node.network_state import NetworkState

from tests.node.fake_tracker import network_info
from tests.node.world import revocations


def test_it_learns_what_was_revoked(tmp_path: Path) -> None:
    """It begins with what is believed, and the next network info reaches it."""
    state = NetworkState(tmp_path / "n.json")
    state.accept(network_info(revocations=revocations("old").envelope))
    judge = advert_judge(state)
    assert judge.revocations is not None
    assert judge.revocations.grants == ("old",)
    state.accept(network_info(revocations=revocations("new", sequence=2).envelope))
    assert judge.revocations is not None
    assert judge.revocations.grants == ("new",)
