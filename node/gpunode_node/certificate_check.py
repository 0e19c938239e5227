"""Whether the tracker's certificate, without which nobody believes this node's adverts, is there and valid."""

import datetime

from gpunode_protocol.certificates import Certificate
from gpunode_protocol.diagnosis import Finding, failure, ok, skipped, warning
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.identity import PeerId
from gpunode_protocol.keyfile import load_identity
from gpunode_protocol.signing import Envelope, read_body
from gpunode_protocol.tracker_api import NetworkInfo
from gpunode_protocol.trust import Trust

from gpunode_node.credentials import CredentialsFile
from gpunode_node.doctor_facts import NodeFacts

RENEWAL_OVERDUE_S = 2 * 24 * 3600
"""The tracker sends a new certificate from half of the seven days on: so little left means that none comes."""
_REACH_THE_TRACKER = "See that the tracker answers ('gpunode status' says why not); it sends a new one."


def check_certificate(facts: NodeFacts) -> Finding:
    """Look at the kept certificate."""
    folder = facts.folder()
    credentials, network = CredentialsFile(folder.worker).load(), facts.kept_network()
    if credentials is None or network is None:
        return skipped("There is no certificate yet; the node gets one when it first meets its tracker.")
    return judge_certificate(
        credentials.certificate,
        network,
        load_identity(folder.identity).peer_id,
        now=facts.unix_time(),
        is_running=facts.status() is not None,
    )


def judge_certificate(
    envelope: Envelope, network: NetworkInfo, peer: PeerId, *, now: float, is_running: bool
) -> Finding:
    """Judge a certificate for ``peer`` at ``now`` (Unix seconds)."""
    trust = Trust.from_keyset(network.root_public_key, network.keyset)
    body = read_body(Certificate, envelope)
    if now > body.expires_at:
        return _judge_expired(body, is_running=is_running)
    try:
        trust.open_certificate(envelope, now=now)
    except GpunodeError as error:
        return failure(
            f"The certificate does not verify: {error}", "Check the clock; start the node again to register anew."
        )
    if body.peer != peer:
        return failure(
            "The certificate is for another key than the node's.", "Start the node again; it registers anew."
        )
    if body.serial in trust.open_revocations(network.revocations).body.certificates:
        return failure("The tracker has revoked this node's certificate.", "Ask the tracker's operator why.")
    left_s = body.expires_at - now
    told = f"Valid until {_date(body.expires_at)} ({left_s / 86_400:.1f} days)"
    if is_running and left_s < RENEWAL_OVERDUE_S:
        return warning(f"{told}, and a new one is overdue.", _REACH_THE_TRACKER)
    return ok(f"{told}.")


def _judge_expired(body: Certificate, *, is_running: bool) -> Finding:
    told = f"Expired on {_date(body.expires_at)}"
    if is_running:
        return failure(f"{told}: nobody believes this node's adverts any more.", _REACH_THE_TRACKER)
    return ok(f"{told}; the next start gets a new one.")


def _date(at: int) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
