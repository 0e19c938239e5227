"""What the client believes of its network: the pinned root key, and the tracker's last word verified against it."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from gpunode_protocol.clock_offset import (
    CLOCK_FIX,
    TOLERATED_S,
    WORTH_A_WORD_S,
    describe_offset,
    is_beyond_tolerance,
    offset_to_tracker,
)
from gpunode_protocol.errors import MalformedMessage, ProtocolError, Untrusted
from gpunode_protocol.keyset import network_id_of
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.tracker_api import NetworkInfo
from gpunode_protocol.trust import Trust
from pydantic import ValidationError

from gpunode._state import TrackerState, read_json, write_json
from gpunode.errors import ClockOff, TrackerBusy, TrackerError, TrackerUnreachable, WrongNetwork

_log = logging.getLogger(__name__)

REFRESH_INTERVAL_S: Final = 300.0
"""A client in use asks the tracker this often: shard bits are read in both versions for 5 min after a change."""

JUMP_PATIENCE_S: Final = 2.0
"""A call that finds that the clock has jumped waits so long for the tracker; who slept may have none yet."""


@dataclass(frozen=True)
class Network:
    """Verified network info."""

    info: NetworkInfo
    trust: Trust
    revocations: Revocations

    @property
    def id(self) -> str:
        """The network id, 40 hex digits."""
        return self.trust.network


class NetworkSource(Protocol):
    """Where network info comes from: the tracker."""

    url: str

    async def network(self) -> NetworkInfo:
        """Return unverified network info; raises ``TrackerUnreachable`` or ``TrackerError``."""
        ...


class NetworkKeeper:
    """Fetches network info, pins the root key at first contact, and falls back on what it saw last.

    Args:
        tracker: asked first.
        state: keeps pin and last info.
        network_id: the network that the user expects, if they said.
        clock: Unix seconds. monotonic: seconds, whatever the clock is set to.
    """

    def __init__(
        self,
        tracker: NetworkSource,
        state: TrackerState,
        *,
        network_id: str | None,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._tracker = tracker
        self._state = state
        self._network_id = network_id
        self._clock = clock
        self._monotonic = monotonic
        self._asked: tuple[float, float] | None = None  # by monotonic and by clock
        self._network: Network | None = None
        self._clock_offset_s: float | None = None

    @property
    def is_stale(self) -> bool:
        """Whether it is time to ask the tracker again."""
        return self._asked is None or self._monotonic() - self._asked[0] > REFRESH_INTERVAL_S

    @property
    def _has_clock_jumped(self) -> bool:
        """Whether the clock was set since, or the computer has slept."""
        if self._asked is None:
            return False
        gone_s, by_clock_s = self._monotonic() - self._asked[0], self._clock() - self._asked[1]
        return is_beyond_tolerance(by_clock_s - gone_s)

    def current(self) -> Network | None:
        """Return what is known now, from this run or from the last one; None before first contact.

        Raises:
            WrongNetwork: the pinned network is not the one that the user expects.
        """
        if self._network is None:
            root = self._state.pinned_root()
            value = read_json(self._state.network_path)
            if root is not None and isinstance(value, str):
                self._check_expected(root)
                self._network = self._from_cache(value, root)
        return self._network

    async def fetch(self) -> Network:
        """Return the tracker's word, else the last one if the tracker is down.

        Raises:
            WrongNetwork: the tracker belongs to another network.
            TrackerUnreachable, TrackerError: no answer, and nothing known from before.
        """
        asked_at = self._clock()
        self._asked = (
            self._monotonic(),
            asked_at,
        )  # also after a failure: a tracker that is down is not asked at every call
        try:
            info = await self._tracker.network()
        except (TrackerUnreachable, TrackerBusy) as error:
            known = self.current()
            if known is None:
                raise
            _log.warning("%s Going on with what is known.", error, extra={"event": "tracker_unreachable"})
            return known
        self._network = self._accept(info)
        answered_at = self._clock()
        if answered_at - asked_at < WORTH_A_WORD_S:  # else the answer was too slow to tell the time by
            self._compare_clocks(offset_to_tracker(asked_at, answered_at, info.time))
        return self._network

    async def require_right_clock(self) -> None:
        """Refuse to go on with a clock that makes everything fail; it is measured again where it may have been set.

        Raises:
            ClockOff: it is more than a minute away from the tracker's. WrongNetwork, TrackerError: see ``fetch``.
        """
        if is_beyond_tolerance(self._clock_offset_s):
            await self.fetch()
        elif self._has_clock_jumped:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(JUMP_PATIENCE_S):
                    await self.fetch()
        offset_s = self._clock_offset_s
        if offset_s is not None and is_beyond_tolerance(offset_s):
            told = describe_offset(offset_s, f"that of the tracker at {self._tracker.url}")
            raise ClockOff(f"{told}; nodes refuse requests beyond {TOLERATED_S:.0f} s. {CLOCK_FIX}")

    def _accept(self, info: NetworkInfo) -> Network:
        root = self._state.pinned_root()
        self._check_expected(info.root_public_key)
        if root is not None and root != info.root_public_key:
            raise WrongNetwork(
                f"The tracker at {self._tracker.url} now belongs to network {network_id_of(info.root_public_key)}, but "
                f"{network_id_of(root)} was pinned at first contact. Nothing was sent. If its operator confirms the "
                f"change, delete {self._state.pin_path} and try again."
            )
        try:
            network = verify_network(info, info.root_public_key, before=self.current())
        except (ProtocolError, Untrusted) as error:
            raise TrackerError(
                f"The tracker at {self._tracker.url} sent a network that does not verify: {error}"
            ) from error
        try:
            if root is None:
                self._state.pin(info.root_public_key)
                _log.info("pinned network %s", network.id, extra={"event": "network_pinned"})
            write_json(self._state.network_path, info.model_dump_json())
        except OSError as error:
            _log.warning("what was learned cannot be kept: %s", error, extra={"event": "state_not_written"})
        return network

    def _check_expected(self, root: bytes) -> None:
        if self._network_id is not None and network_id_of(root) != self._network_id:
            raise WrongNetwork(
                f"The tracker at {self._tracker.url} belongs to network {network_id_of(root)}, not to "
                f"{self._network_id} as the settings say. Nothing was sent. Check the address and network_id."
            )

    def _from_cache(self, value: str, root: bytes) -> Network | None:
        try:
            return verify_network(NetworkInfo.model_validate_json(value), root, before=None)
        except (ValidationError, ProtocolError, Untrusted) as error:
            _log.warning("the kept network info is damaged: %s", error, extra={"event": "network_cache_damaged"})
            return None

    def _compare_clocks(self, offset_s: float) -> None:
        self._clock_offset_s = offset_s
        if WORTH_A_WORD_S < abs(offset_s) <= TOLERATED_S:  # beyond that, require_right_clock speaks
            _log.warning(
                "%s. %s",
                describe_offset(offset_s, "the tracker's"),
                CLOCK_FIX,
                extra={"event": "clock_offset", "offset_s": offset_s},
            )


def verify_network(info: NetworkInfo, root: bytes, *, before: Network | None) -> Network:
    """Check key set and revocations; older ones never replace newer ones.

    Raises:
        ProtocolError, Untrusted: something does not verify.
    """
    if info.root_public_key != root or info.network != network_id_of(root):
        raise MalformedMessage("the network id does not follow from the root key")
    trust = Trust.from_keyset(root, info.keyset)
    if before is not None:
        trust = before.trust.updated(info.keyset)
    revocations = trust.open_revocations(info.revocations).body
    if before is not None and before.revocations.sequence > revocations.sequence:
        revocations = before.revocations
    return Network(info, trust, revocations)
