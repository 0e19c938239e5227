"""The certificate of HTTPS."""

import contextlib
import logging
import ssl
from pathlib import Path

import pytest
from gpunode_tracker.errors import InvalidSettings
from gpunode_tracker.tls_certificate import TlsCertificate, tls_context

from tests.tracker.certificates import self_signed


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> str | None:
    """Let two sides agree in memory; return the version of TLS that they speak."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for side in sides * 3:
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return sides[0].version()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_old_tls_is_refused(tmp_path: Path) -> None:
    """1.3 and 1.2 are spoken; 1.1 is not, although this client would, and a server without that rule too."""
    ours = tls_context(*self_signed(tmp_path))
    lax = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    lax.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    lax.set_ciphers("DEFAULT:@SECLEVEL=0")
    lax.minimum_version = ssl.TLSVersion.TLSv1_1
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.set_ciphers("DEFAULT:@SECLEVEL=0")
    client.minimum_version = ssl.TLSVersion.TLSv1_1
    assert _handshake(ours, client) == "TLSv1.3"
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert _handshake(ours, client) == "TLSv1.2"
    client.maximum_version = ssl.TLSVersion.TLSv1_1
    assert _handshake(lax, client) == "TLSv1.1"
    with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
        _handshake(ours, client)


def _trusting(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=certificate.read_text())
    context.check_hostname = False
    return context


async def test_a_renewed_certificate_is_taken_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By the connections that come after it, without a restart."""
    caplog.set_level(logging.INFO)
    files = self_signed(tmp_path)
    tls, before = TlsCertificate(*files), _trusting(files[0])
    await tls.look()
    assert _handshake(tls.context, before) is not None
    self_signed(tmp_path)
    await tls.look()
    await tls.look()
    assert [record.__dict__["event"] for record in caplog.records] == ["certificate_renewed"]
    assert _handshake(tls.context, _trusting(files[0])) is not None
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(tls.context, before)


@pytest.mark.parametrize("what", ["half of it", "nothing", "garbage"])
async def test_a_renewal_that_cannot_be_used(tmp_path: Path, what: str) -> None:
    """The old one stays in use; that it is so is said once, and the next renewal is taken."""
    certificate, key = self_signed(tmp_path)
    tls, before = TlsCertificate(certificate, key), _trusting(certificate)
    old_key = key.read_bytes()
    self_signed(tmp_path)
    if what == "half of it":
        key.write_bytes(old_key)
    elif what == "nothing":
        certificate.unlink()
    else:
        certificate.write_bytes(b"garbage")
    with pytest.raises(InvalidSettings, match="cannot be used"):
        await tls.look()
    await tls.look()
    assert _handshake(tls.context, before) is not None
    self_signed(tmp_path)
    await tls.look()
    assert _handshake(tls.context, _trusting(certificate)) is not None
