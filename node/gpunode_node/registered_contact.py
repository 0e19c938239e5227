"""A registration at the tracker, of whatever kind: calls with what it gave, and those that every kind makes alike."""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, Generic, Protocol, TypeVar

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.identity import Identity
from gpunode_protocol.signing import sign
from gpunode_protocol.tracker_api import BalanceReply, Link, LinkReply

from gpunode_node.errors import TrackerRefused, TrackerUnreachable
from gpunode_node.network_state import NetworkState
from gpunode_node.token_losses import TokenLosses
from gpunode_node.tracker_client import TrackerClient
from gpunode_node.tracker_contact import TrackerContact

logger = logging.getLogger(__name__)

UNAUTHORIZED: Final = HTTPStatus.UNAUTHORIZED
RETRY_S: Final = 2.0
"""Pause after the first failed heartbeat; it doubles up to the heartbeat's interval."""


class Given(Protocol):
    """What a registration gave."""

    @property
    def token(self) -> str:
        """For the tracker's REST interface."""
        ...


G = TypeVar("G", bound=Given)
T = TypeVar("T")


class RegisteredContact(TrackerContact, ABC, Generic[G]):
    """Whoever proves a key to the tracker and gets a token for it.

    Args:
        client: of the tracker.
        identity: the key, which gets the earnings.
        state: learns of newer keys, revocations and prices.
        given: by an earlier registration, None = there was none.
        unix_time: seconds.
    """

    def __init__(
        self,
        client: TrackerClient,
        identity: Identity,
        state: NetworkState,
        given: G | None,
        unix_time: Callable[[], float],
    ) -> None:
        super().__init__(client, state, unix_time)
        self._identity = identity
        self._given = given
        self._registering = asyncio.Lock()
        self._losses = TokenLosses()

    @property
    def key_problem(self) -> str:
        """Why this key seems to be in use elsewhere too, and what to do; empty when it does not."""
        return self._losses.problem(asyncio.get_running_loop().time())

    @abstractmethod
    async def register(self) -> G:
        """Prove the key, and keep in ``_given`` and on disk what that gave.

        Raises:
            TrackerUnreachable, TrackerRefused: not registered.
        """

    async def balance(self) -> BalanceReply:
        """Return what this key, or the account that it is linked to, has. Raises TrackerUnreachable, TrackerRefused."""
        return await self._with_given(lambda given: self._client.balance(self._identity.peer_id, given.token))

    async def link(self, api_key: str) -> LinkReply:
        """Attach this key to the account of an API key. Raises TrackerUnreachable or TrackerRefused."""
        challenge = await self._client.challenge()
        peer, network = self._identity.peer_id, self._state.view.trust.network
        consent = sign(self._identity, Link(network=network, peer=peer, challenge=challenge.challenge))
        return await self._client.link(peer, consent.envelope, api_key)

    async def _with_given(self, call: Callable[[G], Awaitable[T]]) -> T:
        """Make a call with the token; when the tracker does not know it any more, register and call again."""
        used = self._given
        if used is not None:
            try:
                return await call(used)
            except TrackerRefused as error:
                if error.status != UNAUTHORIZED:
                    raise
        async with self._registering:
            if self._given is used or self._given is None:
                await self._register_again()
                if used is not None:
                    self._note_loss()
        if self._given is None:
            raise TrackerUnreachable("This node is not registered yet.")
        return await call(self._given)

    async def _register_again(self) -> None:
        """Register; callers, who go on without a tracker's answer, need not know why there is none."""
        try:
            await self.register()
        except (TrackerUnreachable, TrackerRefused):
            raise
        except GpunodeError as error:  # the disk is full, or a certificate does not verify
            raise TrackerUnreachable(f"This node could not register again. {error}") from error

    def _note_loss(self) -> None:
        if self._losses.note(asyncio.get_running_loop().time()):
            logger.error("%s", self.key_problem, extra={"event": "key_elsewhere"})


def pause_s(failures: int, interval_s: float) -> float:
    """Return the seconds from a heartbeat to the next, after so many failed ones in a row."""
    return min(RETRY_S * 2 ** (failures - 1), interval_s) if failures else interval_s
