"""The first words with the tracker. Known before: its silence degrades the start. Never met: it must answer."""

import asyncio
import contextlib
import logging
from typing import Protocol

from gpunode_node.errors import ClockOff, TrackerRefused, TrackerUnreachable, TrackerUntrusted
from gpunode_node.network_state import NetworkState
from gpunode_node.tracker_contact import TrackerContact

logger = logging.getLogger(__name__)

FIRST_CONTACT_TIMEOUT_S = 30.0
"""A node that never met its tracker waits so long for it before it gives up."""
BOOTSTRAP_TIMEOUT_S = 30.0
"""A node waits so long for a bootstrap peer before it starts its mesh without one."""
RETRY_S = 1.0


class Registrant(Protocol):
    """Whoever registers at a tracker."""

    async def register(self) -> object:
        """Prove possession of the key, and keep what the tracker gives. Raises GpunodeError."""
        ...


async def meet_tracker(link: TrackerContact, state: NetworkState) -> None:
    """Learn of the network from the tracker, or go on with what an earlier run saw.

    Raises:
        TrackerUnreachable: no answer, and nothing known from before; an untrusted certificate is not tried again.
        OtherNetwork, Untrusted, TrackerRefused, ProtocolError: an answer that cannot be accepted.
        ClockOff: with this computer's clock the node could serve nobody.
    """
    clock = asyncio.get_running_loop().time
    give_up_at = clock() + FIRST_CONTACT_TIMEOUT_S
    while True:
        try:
            await link.fetch_network()
        except TrackerUnreachable as error:
            if state.is_known:
                logger.warning(
                    "%s Going on with what is known from before.", error, extra={"event": "tracker_unreachable"}
                )
                return
            if isinstance(error, TrackerUntrusted):
                raise  # time will not mend it
            if clock() >= give_up_at:
                raise TrackerUnreachable(
                    f"{error} Nothing is known of this network yet, so the node cannot start. Check the "
                    "tracker's address (--bootstrap, or --tracker with --pull), the connection, and that it runs."
                ) from error
            logger.info("%s Trying again.", error, extra={"event": "tracker_awaited"})
            await asyncio.sleep(RETRY_S)
        else:
            if link.clock_problem:
                raise ClockOff(link.clock_problem)
            return


async def wait_for_bootstrap(link: TrackerContact, state: NetworkState) -> None:
    """Ask again while the tracker names no bootstrap peer: its mesh starts some seconds after its HTTP does.

    A mesh that is started without one would be a network of its own. A tracker without a mesh stays without.

    Raises:
        OtherNetwork, Untrusted, ProtocolError: an answer that cannot be accepted.
    """
    clock = asyncio.get_running_loop().time
    give_up_at = clock() + BOOTSTRAP_TIMEOUT_S
    while not state.info.bootstrap and clock() < give_up_at:
        await asyncio.sleep(RETRY_S)
        with contextlib.suppress(TrackerUnreachable, TrackerRefused):
            await link.fetch_network()
    if not state.info.bootstrap:
        logger.warning(
            "the tracker names no bootstrap peer: only clients that ask the tracker will find this node",
            extra={"event": "no_bootstrap"},
        )


async def register_or_go_on(link: Registrant) -> None:
    """Register; when the tracker is silent, go on with the credentials of an earlier run, or without for now.

    Raises:
        TrackerRefused, Untrusted, ProtocolError: the tracker does not want this node.
    """
    try:
        await link.register()
    except TrackerUnreachable as error:
        logger.warning("not registered yet: %s", error, extra={"event": "register_failed"})
