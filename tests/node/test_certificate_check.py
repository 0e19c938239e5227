from pathlib import Path

import pytest
from gpunode_node.certificate_check import check_certificate, judge_certificate
from gpunode_node.credentials import Credentials, CredentialsFile
from gpunode_node.doctor_facts import NodeFacts
from gpunode_node.network_state import NetworkState
from gpunode_protocol.certificates import CERTIFICATE_LIFETIME_S, Certificate, certificate_for
from gpunode_protocol.diagnosis import Finding, Subject
from gpunode_protocol.identity import Identity
from gpunode_protocol.signing import Envelope, read_body, sign

from tests.node.fake_tracker import certificate, network_info
from tests.node.world import EPOCH, KID, NETWORK, NODE, OTHER, TRACKER, revocations

DAY = 86_400


def _judged(envelope: Envelope | None = None, *, now: float = EPOCH, running: bool = True) -> Finding:
    return judge_certificate(envelope or certificate(), network_info(), NODE.peer_id, now=now, is_running=running)


def test_a_valid_certificate() -> None:
    """It says until when."""
    finding = _judged()
    assert (finding.status, "UTC (7.0 days)" in finding.message) == ("ok", True)


@pytest.mark.parametrize(("running", "status"), [(True, "warning"), (False, "ok")])
def test_a_certificate_that_should_have_been_renewed(running: bool, status: str) -> None:
    """The tracker sends a new one from half its life on, to nodes that run."""
    assert _judged(now=EPOCH + 6 * DAY, running=running).status == status
    assert _judged(now=EPOCH + 4 * DAY, running=running).status == "ok"


@pytest.mark.parametrize(("running", "status"), [(True, "failure"), (False, "ok")])
def test_an_expired_certificate(running: bool, status: str) -> None:
    """A node that does not run gets a new one at its start."""
    finding = _judged(now=EPOCH + CERTIFICATE_LIFETIME_S + 1, running=running)
    assert (finding.status, finding.message.startswith("Expired on ")) == (status, True)


def test_a_revoked_certificate() -> None:
    """Only the operator knows why."""
    envelope = certificate()
    serial = read_body(Certificate, envelope).serial
    network = network_info(revocations=revocations(certificates=(serial,)).envelope)
    finding = judge_certificate(envelope, network, NODE.peer_id, now=EPOCH, is_running=True)
    assert (finding.status, "revoked" in finding.message) == ("failure", True)


def test_a_certificate_for_another_key() -> None:
    """As after a key was replaced by hand."""
    foreign = sign(TRACKER, certificate_for(OTHER.peer_id, network=NETWORK, kid=KID, now=EPOCH)).envelope
    assert "another key" in _judged(foreign).message


@pytest.mark.parametrize(("signer", "issued_at"), [(OTHER, EPOCH), (TRACKER, EPOCH + 300)])
def test_a_certificate_that_does_not_verify(signer: Identity, issued_at: int) -> None:
    """Forged, or of the future by this clock."""
    finding = _judged(sign(signer, certificate_for(NODE.peer_id, network=NETWORK, kid=KID, now=issued_at)).envelope)
    assert (finding.status, "clock" in finding.fix) == ("failure", True)


def test_the_kept_files(tmp_path: Path) -> None:
    """Before the first start there is none; afterwards it is judged by the network that was kept with it."""
    facts = NodeFacts(Subject(data_dir=tmp_path), lambda: EPOCH)
    assert check_certificate(facts).status == "skipped"
    NetworkState(tmp_path / "network.json").accept(network_info())
    CredentialsFile(tmp_path / "worker.json").save(Credentials("token", certificate(), None))
    key = tmp_path / "identity.key"
    key.touch(mode=0o600)
    key.write_bytes(NODE.to_libp2p())
    assert check_certificate(facts).status == "ok"
