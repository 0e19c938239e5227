"""Clock and tracker."""

from urllib.parse import urlsplit

from gpunode_protocol.clock_offset import (
    CLOCK_FIX,
    TOLERATED_S,
    WORTH_A_WORD_S,
    describe_offset,
    is_beyond_tolerance,
)
from gpunode_protocol.diagnosis import Finding, failure, ok, skipped, warning
from gpunode_protocol.errors import ProtocolError, Untrusted
from gpunode_protocol.keyset import network_id_of
from gpunode_protocol.tracker_api import NetworkInfo
from gpunode_protocol.tracker_url import is_loopback_url

from gpunode._network import verify_network
from gpunode.doctor.tracker_facts import TrackerFacts
from gpunode.errors import TrackerError, TrackerUnreachable

SET_A_TRACKER = "Name it with --tracker, GPUNODE_TRACKER (clients) or GPUNODE_BOOTSTRAP (nodes)."


def check_clock(facts: TrackerFacts) -> Finding:
    """Compare this computer's clock with the tracker's."""
    if not facts.has_tracker:
        return skipped("No tracker is set whose clock this one could be compared with.")
    try:
        answer = facts.answer()
    except (TrackerUnreachable, TrackerError):  # the check of the tracker tells why
        return skipped("The tracker gave no usable answer, so there is no clock to compare this one with.")
    return judge_clock(answer.clock_offset_s)


def judge_clock(offset_s: float) -> Finding:
    """Judge the seconds by which this clock is ahead of the tracker's."""
    told = describe_offset(offset_s, "the tracker's")
    if is_beyond_tolerance(offset_s):
        return failure(f"{told}; beyond {TOLERATED_S:.0f} s nodes and clients refuse each other.", f"{CLOCK_FIX}.")
    if abs(offset_s) > WORTH_A_WORD_S:
        return warning(f"{told}; {TOLERATED_S:.0f} s are tolerated.", f"{CLOCK_FIX}.")
    if not round(offset_s):
        return ok("Within a second of the tracker's.")
    return ok(f"{told}, which does no harm.")


def check_tracker(facts: TrackerFacts) -> Finding:
    """See whether the tracker answers, and for the right network."""
    config = facts.config()
    if not facts.has_tracker:
        return warning("No tracker is set.", SET_A_TRACKER)
    url = config.tracker_url()
    pinned = facts.state()[1].pinned_root()
    answer = facts.answer()
    wrong = judge_network(answer.info, url, pinned_root=pinned, expected_network=config.network_id)
    if wrong is not None:
        return wrong
    pin = "pinned" if pinned else "not pinned yet"
    count = len(answer.info.bootstrap)
    return ok(
        f"{url} answers in {answer.round_trip_s * 1_000:.0f} ms ({transport_of(url)}): network "
        f"{answer.info.network} ({pin}), {count} bootstrap address{'' if count == 1 else 'es'}."
    )


def judge_network(
    info: NetworkInfo, url: str, *, pinned_root: bytes | None, expected_network: str | None
) -> Finding | None:
    """Return what is wrong with the network that the tracker speaks for; None = nothing.

    Args:
        pinned_root: root key of the first contact, if there was one. expected_network: id of the settings.
    """
    if expected_network is not None and info.network != expected_network:
        return failure(
            f"{url} belongs to network {info.network}, not to {expected_network} as the settings say.",
            "Check the tracker's address and GPUNODE_NETWORK_ID.",
        )
    if pinned_root is not None and info.root_public_key != pinned_root:
        return failure(
            f"{url} belongs to network {info.network}, but {network_id_of(pinned_root)} was pinned at first contact.",
            "Ask the tracker's operator; if the change is right, run 'gpunode chat', which names the file to delete.",
        )
    try:
        verify_network(info, info.root_public_key, before=None)
    except (ProtocolError, Untrusted) as error:
        return failure(f"{url} sends a network that does not verify: {error}", "Tell the tracker's operator.")
    if not info.bootstrap:
        return warning(
            f"{url} names no bootstrap peer, so nothing can be found in the DHT.",
            "If the tracker has just started, try again; else its operator should run it with its mesh.",
        )
    if url.startswith("http://") and not is_loopback_url(url):
        return warning(
            f"{url} is plain http: whoever is in between can read the API key.", "Ask its operator for https."
        )
    return None


def transport_of(url: str) -> str:
    """Return how the tracker was reached, for a person."""
    return "TLS, certificate trusted" if urlsplit(url).scheme == "https" else "plain http on this machine"
