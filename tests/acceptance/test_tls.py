"""A tracker behind TLS, with a certificate that only those trust who were given it."""

import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from gpunode import InferenceClient
from gpunode.errors import InvalidSettings, TrackerError

from tests.acceptance.network import MESH_ADDRESSES, MODEL, Network, tracker_arguments
from tests.acceptance.processes import Daemon, json_of, run_gpunode

pytestmark = pytest.mark.acceptance

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def certificate(network: Network) -> Path:
    """Make a self-signed certificate for 127.0.0.1; its key lies beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "acceptance")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = network.folder / "tls.pem"
    file.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    file.with_suffix(".key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


@pytest.fixture(scope="module")
def tracker(network: Network, certificate: Path) -> Iterator[Daemon]:
    """Run another tracker, with TLS."""
    tls = ["--tls-cert", str(certificate), "--tls-key", str(certificate.with_suffix(".key"))]
    daemon = Daemon([*tracker_arguments("127.0.0.1:0", MESH_ADDRESSES), *tls], network.folder / "tls-tracker")
    try:
        assert daemon.wait_ready()["url"].startswith("https://127.0.0.1:")
        yield daemon
    finally:
        daemon.stop()


def test_a_node_and_a_client_behind_tls(network: Network, tracker: Daemon, certificate: Path) -> None:
    """With the certificate as authority, everything works as without TLS."""
    url, options = tracker.run["url"], ["--ca-file", str(certificate), "--region", "asia", "--model", MODEL]
    node = Daemon(["start", "--bootstrap", url, *options], network.folder / "tls-node")
    try:
        home = ("--json", "--data-dir", str(tracker.data_dir))
        account = json_of(run_gpunode("tracker", "create-account", "tls", *home, home=network.folder))["account"]
        key = json_of(run_gpunode("tracker", "create-key", account, *home, home=network.folder))["api_key"]
        node.wait_ready()
        folder = network.folder / "tls-client"
        with InferenceClient(url, api_key=key, ca_file=certificate, state_dir=folder) as client:
            result = client.chat(messages=HELLO, max_tokens=2)
            assert result.route.node == node.run["peer_id"]
    finally:
        node.stop()


def test_an_unknown_certificate(network: Network, tracker: Daemon) -> None:
    """Nobody talks to a tracker whose certificate they cannot check."""
    url, folder = tracker.run["url"], network.folder / "tls-client-2"
    with (
        InferenceClient(url, api_key="gpk_x", state_dir=folder) as client,
        pytest.raises(TrackerError, match=r"certificate .* is not trusted.*ca_file"),
    ):
        client.balance()
    node = run_gpunode("start", "--bootstrap", url, "--data-dir", str(folder / "n"), home=network.folder)
    assert node.returncode == 1
    assert "--ca-file" in node.stderr.splitlines()[-1]


def test_plain_http_to_another_machine(network: Network) -> None:
    """Client and node refuse to send keys where anyone in between could read them."""
    with pytest.raises(InvalidSettings, match=r"plain http.*insecure"):
        InferenceClient("http://192.0.2.1:8470", api_key="gpk_x", state_dir=network.folder / "x")
    data_dir = str(network.folder / "plain")
    node = run_gpunode("start", "--bootstrap", "http://192.0.2.1", "--data-dir", data_dir, home=network.folder)
    assert node.returncode == 1
    assert "--insecure" in node.stderr.splitlines()[-1]


def test_a_tracker_with_plain_http_for_everybody(network: Network) -> None:
    """It does not start unless its operator accepts that."""
    data_dir = str(network.folder / "plain-tracker")
    tracker = run_gpunode(
        "tracker", "start", "--listen", "0.0.0.0:0", "--data-dir", data_dir, home=network.folder, timeout_s=30
    )
    assert tracker.returncode == 1
    assert "--tls-cert" in tracker.stderr.splitlines()[-1]
