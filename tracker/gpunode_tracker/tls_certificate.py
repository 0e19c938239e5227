"""The certificate that HTTPS is served with, and its renewals: they are taken up while the tracker runs."""

import logging
import ssl
from pathlib import Path
from typing import Final

from gpunode_tracker.errors import InvalidSettings

logger = logging.getLogger(__name__)

CERTIFICATE_INTERVAL_S: Final = 60.0
"""Between two looks at the files; certificates are renewed days before the old one ends."""

_Stamp = tuple[tuple[int, int, int], ...]


class TlsCertificate:
    """A certificate and its key. New connections get what the files had at the last look.

    Args:
        certificate: PEM file of the chain.
        key: PEM file; None: it is in the other one.

    Raises:
        InvalidSettings: the files cannot be used.
    """

    def __init__(self, certificate: Path, key: Path | None) -> None:
        self._certificate = certificate
        self._key = key
        self._looked_at = self._stamp()
        self.context = tls_context(certificate, key)

    async def look(self) -> None:
        """Take the files anew if they were changed.

        Raises:
            InvalidSettings: they cannot be used, which is said once of each change; the certificate stays as it was.
        """
        stamp = self._stamp()
        if stamp == self._looked_at:
            return
        self._looked_at = stamp
        tls_context(self._certificate, self._key)  # first: a pair that does not fit would spoil the one in use
        self.context.load_cert_chain(self._certificate, self._key)
        logger.info("The certificate was renewed", extra={"event": "certificate_renewed"})

    def _stamp(self) -> _Stamp:
        files = [self._certificate, *([self._key] if self._key is not None else [])]
        return tuple(_changed_at(file) for file in files)


def _changed_at(file: Path) -> tuple[int, int, int]:
    try:
        status = file.stat()
    except OSError:  # it is just being replaced, or gone, which using it tells
        return (0, 0, 0)
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def tls_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Return the TLS settings of a certificate: version 1.2 or later.

    Raises:
        InvalidSettings: the files cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996; Python's own choice, but the system may set another
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise InvalidSettings(f"The certificate {certificate} or its key {key} cannot be used: {error}.") from error
    return context
