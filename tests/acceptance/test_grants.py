"""Grants: a node works only for ones that the tracker signed for this client, this task and this moment."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
from gpunode import InferenceClient
from gpunode_protocol.grants import Grant, grant_key_id, issue_grant
from gpunode_protocol.identity import Identity
from gpunode_protocol.mesh import load_identity
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.signing import read_body
from gpunode_protocol.tracker_api import NetworkInfo

from tests.acceptance.network import Network, is_idle, settlements
from tests.acceptance.processes import Daemon, wait_until
from tests.acceptance.raw_peer import RawPeer

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("asia_goes_on_serving")]

NODE = "asia"


def _claims(token: str) -> Grant:
    claims = jwt.decode(token, options={"verify_signature": False})
    return Grant.from_map(claims | {"tasks": tuple(claims["tasks"])})


def test_an_expired_grant(network: Network, raw: RawPeer) -> None:
    """Its time is over, whoever signed it; here the tracker's own key did."""
    token = raw.grant().grant
    key = load_identity(next((network.tracker.data_dir / "signing-keys").iterdir()))
    now = int(time.time())
    expired = _claims(token).model_copy(update={"iat": now - 600, "exp": now - 1})
    node = network.nodes[NODE]
    old = issue_grant(expired, signer=key, kid=grant_key_id(token))
    assert raw.ask(node, raw.request(node, old)).error().code == "grant_expired"


def test_a_forged_grant(network: Network, raw: RawPeer) -> None:
    """Another key under the tracker's name does not do."""
    token = raw.grant().grant
    forged = issue_grant(_claims(token), signer=Identity.generate(), kid=grant_key_id(token))
    node = network.nodes[NODE]
    assert raw.ask(node, raw.request(node, forged)).error().code == "grant_invalid"


def test_a_grant_under_an_unknown_key(network: Network, raw: RawPeer) -> None:
    """Only keys of the network's key set count."""
    forged = issue_grant(_claims(raw.grant().grant), signer=Identity.generate(), kid="0" * 16)
    node = network.nodes[NODE]
    assert raw.ask(node, raw.request(node, forged)).error().code == "grant_invalid"


def test_an_unsigned_grant(network: Network, raw: RawPeer) -> None:
    """The algorithm "none" is no signature."""
    claims = jwt.decode(raw.grant().grant, options={"verify_signature": False})
    unsigned = jwt.encode(claims, None, algorithm="none", headers={"kid": "x", "typ": "gpunode-grant+jwt"})
    node = network.nodes[NODE]
    assert raw.ask(node, raw.request(node, unsigned)).error().code == "grant_invalid"


def test_another_clients_grant(network: Network, raw: RawPeer) -> None:
    """A stolen grant is of no use without its key."""
    stolen = raw.grant(peer=Identity.generate().peer_id).grant
    node = network.nodes[NODE]
    assert raw.ask(node, raw.request(node, stolen)).error().code == "grant_invalid"


def test_a_grant_for_another_node(network: Network, raw: RawPeer) -> None:
    """A grant that names nodes is good at those only."""
    other = raw.grant(open_microcredits=None, nodes={network.nodes["europe"].run["peer_id"]: 10_000}).grant
    node = network.nodes[NODE]
    assert raw.ask(node, raw.request(node, other)).error().code == "grant_invalid"


def test_a_grant_for_another_task(network: Network, raw: RawPeer) -> None:
    """A grant covers the tasks that it lists."""
    node = network.nodes[NODE]
    answer = raw.ask(node, raw.request(node, raw.grant(tasks=("embedding",)).grant)).error()
    assert answer.code == "task_not_allowed"


def test_an_overspent_grant(network: Network, raw: RawPeer) -> None:
    """A cap for one and a half jobs pays one; the error says what is left to do."""
    node = network.nodes[NODE]
    peer = node.run["peer_id"]
    cost = _cost_of_a_job(network, raw)
    granted = raw.grant(open_microcredits=None, nodes={peer: cost + cost // 2})
    raw.work(node, raw.request(node, granted.grant), granted.jti).finish()
    answer = raw.ask(node, raw.request(node, granted.grant)).error()
    assert answer.code == "grant_exhausted"
    assert "Lower max_tokens" in answer.message


def _cost_of_a_job(network: Network, raw: RawPeer) -> int:
    """Return what the raw peer's usual job costs, which uses its tokens up."""
    usage = raw.complete(network.nodes[NODE]).usage
    assert usage.output_tokens == 8
    return raw.info.prices.cost_microcredits("llm", "", input_units=usage.input_tokens, output_units=8)


def test_an_open_grant_spent_at_all_nodes_at_once(network: Network, raw: RawPeer, client: InferenceClient) -> None:
    """Each node serves within the cap, and the ledger pays what was reserved, not three times as much."""
    cost = _cost_of_a_job(network, raw)
    cap = cost + cost // 2
    granted = raw.grant(open_microcredits=cap)

    def spend(node: Daemon) -> None:
        raw.work(node, raw.request(node, granted.grant), granted.jti).finish()

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(spend, network.nodes.values()))
    wait_until(lambda: all(is_idle(node) for node in network.nodes.values()), "all vouchers were handed in")
    paid = [
        -transfer.microcredits
        for entry in settlements(client)
        for transfer in entry.transfers
        if transfer.account == f"reserved:{granted.jti}"
    ]
    assert sum(paid) == cap
    assert max(paid) == cost


def test_a_revoked_grant(network: Network, raw: RawPeer) -> None:
    """The node hears of it with its next heartbeat, and takes no more jobs under it."""
    node, granted = network.nodes[NODE], raw.grant()
    raw.work(node, raw.request(node, granted.grant), granted.jti).finish()
    network.tracker_command("revoke", "--grant", granted.jti)
    wait_until(lambda: granted.jti in _revoked_at(node), "the node knows of the revocation")
    assert raw.ask(node, raw.request(node, granted.grant)).error().code == "grant_revoked"


def test_a_client_gets_over_a_revoked_grant(network: Network, client: InferenceClient) -> None:
    """It asks for another grant by itself."""
    question = [{"role": "user", "content": "Hello"}]
    jti = client.chat(messages=question, region=NODE, max_tokens=1).receipt.receipt.body.jti
    network.tracker_command("revoke", "--grant", jti)
    wait_until(lambda: jti in _revoked_at(network.nodes[NODE]), "the node knows of the revocation")
    result = client.chat(messages=question, region=NODE, max_tokens=1)
    assert result.receipt.receipt.body.jti != jti


def _revoked_at(node: Daemon) -> tuple[str, ...]:
    """Return the grants that a node knows as revoked."""
    stored = json.loads((node.data_dir / "network.json").read_text())
    return read_body(Revocations, NetworkInfo.model_validate_json(stored["info"]).revocations).grants
