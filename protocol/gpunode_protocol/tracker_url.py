"""The tracker's address as users write it."""

import ipaddress
from urllib.parse import urlsplit

from gpunode_protocol.errors import BadTrackerAddress


def tracker_url(text: str, *, insecure: bool = False) -> str:
    """Return the URL of ``HOST[:PORT]`` or of a full ``http[s]://HOST[:PORT]``.

    Without a scheme it is https, port 443; plain http on loopback and with ``insecure``.

    Args:
        text: as given by the user.
        insecure: allow plain http to another machine.

    Raises:
        BadTrackerAddress: neither, or plain http to another machine.
    """
    url = text.strip()
    if not url.endswith("://"):
        url = url.rstrip("/")
    if "://" not in url:
        # a tracker without a certificate listens on loopback, unless its operator accepted the risk as well
        url = f"http://{url}" if insecure or is_loopback_url(f"http://{url}") else f"https://{url}"
    if not _is_usable(url):
        raise BadTrackerAddress(f"{text!r} is not a tracker's address; one looks like tracker.example[:PORT].")
    if url.startswith("http://") and not insecure and not is_loopback_url(url):
        raise BadTrackerAddress(
            f"{url} is plain http to another machine, so anyone in between could read keys and tokens. "
            "Use https, or accept that with --insecure."
        )
    return url


def _is_usable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            and parts.port != 0
            and (parts.path, parts.query, parts.username) == ("", "", None)
        )
    except ValueError:
        return False


def is_loopback_url(url: str) -> bool:
    """Whether a URL leads to this machine."""
    try:
        return is_loopback_host(urlsplit(url).hostname or "")
    except ValueError:
        return False


def is_loopback_host(host: str) -> bool:
    """Whether a host, by name or address, is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
