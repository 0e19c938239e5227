"""Which addresses of webhooks are taken. What can be known without a look-up is known when a job is submitted."""

import ipaddress
import re
from dataclasses import dataclass, field
from typing import Final

from gpunode_protocol.jobs_api import MAX_WEBHOOK_URL_CHARS
from yarl import URL

from gpunode_tracker.errors import InvalidRequest
from gpunode_tracker.webhooks.public_addresses import IpAddress, is_public

HTTPS_PORT: Final = 443
_MAX_HOST_CHARS: Final = 253
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\\]")
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A name whose last label looks so is some old way to write an IPv4 address (WHATWG URL, 3.5)."""
_LOCAL: Final = ("localhost", "local", "internal", "home.arpa")
"""Names under these are never public (RFC 6761, 6762, 8375; ``internal`` is reserved by ICANN)."""


@dataclass(frozen=True)
class WebhookUrl:
    """A checked address. text: in normal form, without fragment; may hold secrets, so it is not shown. host: its name.

    address: of a URL that names no host but an address.
    """

    text: str = field(repr=False)
    host: str = field(repr=False)
    address: IpAddress | None = field(default=None, repr=False)


def check_url(text: str) -> WebhookUrl:
    """Return a checked address.

    Raises:
        InvalidRequest: it is no https URL on port 443, has a user name, or is known to lead to no public address.
    """
    if len(text) > MAX_WEBHOOK_URL_CHARS or _FORBIDDEN.search(text):
        raise _refusal(f"it is an address of at most {MAX_WEBHOOK_URL_CHARS:,} characters without spaces in it")
    try:
        url = URL(text)
        host, port = url.raw_host or "", url.port
    except ValueError as error:
        raise _refusal("it is no valid URL") from error
    if url.scheme != "https":
        raise _refusal("only https is taken")
    if url.raw_user is not None or url.raw_password is not None:
        raise _refusal("user name and password are not taken; put what the receiver checks into path or query")
    if port != HTTPS_PORT:
        raise _refusal(f"only port {HTTPS_PORT} is taken")
    address = _address_of(host)
    if address is None:
        _check_name(host)
    elif not is_public(address):
        raise _refusal("this address is not public")
    return WebhookUrl(str(url.with_fragment(None)), host, address)


def _address_of(host: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _check_name(host: str) -> None:
    labels = host.removesuffix(".").split(".")
    if len(host) > _MAX_HOST_CHARS or not all(_LABEL.fullmatch(label) for label in labels):
        raise _refusal("it names no host")
    if _NUMBER.fullmatch(labels[-1]):
        raise _refusal("its host is a number; write an IPv4 address as four numbers, such as 192.0.2.1")
    name = ".".join(labels)
    if any(name == local or name.endswith(f".{local}") for local in _LOCAL):
        raise _refusal("its host is a name of a local network, which this tracker does not reach")


def _refusal(reason: str) -> InvalidRequest:
    return InvalidRequest(f"webhook: {reason}. It looks like https://example.com/jobs.")
