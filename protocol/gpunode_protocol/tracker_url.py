"""The tracker's address as users write it."""

import ipaddress
from urllib.parse import urlsplit

from gpunode_protocol.errors import BadTrackerAddress

_MAX_SHOWN_CHARS = 200


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


def redirect_text(location: str) -> str:
    """Return what to say of a tracker's address that answers with a redirect, which is not followed.

    Args:
        location: where to, as the answer's header says; "" = nowhere.
    """
    try:
        parts = urlsplit(location)
        host = f"{parts.scheme}://{parts.netloc}" if _is_usable(f"{parts.scheme}://{parts.netloc}") else ""
    except ValueError:
        host = ""
    where = f"it redirects to {host[:_MAX_SHOWN_CHARS]}" if host else "it redirects elsewhere"
    return f"{where}, which is not followed. Check the address; the tracker's own one redirects nowhere."


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
