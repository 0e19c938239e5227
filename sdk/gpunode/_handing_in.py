"""How vouchers that no node hands in reach the tracker: at once if it answers, else when it is back."""

import asyncio
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, Protocol

from gpunode_protocol.tracker_api import SettlementBatch, SettlementItem, SettlementReply

from gpunode._background import Background
from gpunode._unsettled import UnsettledVouchers
from gpunode.errors import ClientError, TrackerError

_log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 60.0
"""Between two attempts at what is kept; each attempt has retries of its own."""

_BATCH: Final = 100
_HOPELESS: Final = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
)
"""Sending the same again does not help."""

_Named = tuple[str | None, SettlementItem]
"""A voucher and its name on disk; None if it is not kept there."""


class SettlementTarget(Protocol):
    """The tracker."""

    async def settle(self, batch: SettlementBatch) -> SettlementReply:
        """Submit vouchers; the same ones may come again, and are paid once."""
        ...


class HandingIn:
    """Hands vouchers in. Each is on disk before it is sent, until the tracker has decided on it.

    Args:
        tracker: who gets them.
        background: sends.
        vouchers: keeps them.
    """

    def __init__(self, tracker: SettlementTarget, background: Background, vouchers: UnsettledVouchers) -> None:
        self._tracker = tracker
        self._background = background
        self._vouchers = vouchers
        self._being_sent: set[str] = set()
        self._old: asyncio.Task[None] | None = None

    def submit(self, item: SettlementItem) -> None:
        """Send a voucher; while the client closes that has some seconds' time."""
        self._background.spawn(self._send_new(self._vouchers.put(item), item))

    def resume(self, *, at_once: bool = True) -> None:
        """Send what is kept from earlier, until nothing is; closing the client leaves the rest to the next one.

        Args:
            at_once: False after the tracker has just taken nothing.
        """
        if self._old is None or self._old.done():
            self._old = self._background.spawn(self._send_old(at_once=at_once), can_wait=True)

    async def _send_new(self, name: str | None, item: SettlementItem) -> None:
        if name is None:
            await self._send([(None, item)])
            return
        self._being_sent.add(name)
        is_decided = False
        try:
            is_decided = await self._send([(name, item)])
        except ClientError as error:
            _log.warning("a voucher is sent later: %s", error, extra={"event": "voucher_kept"})
        finally:
            self._being_sent.discard(name)
        self.resume(at_once=is_decided)

    async def _send_old(self, *, at_once: bool) -> None:
        pause_s = FIRST_PAUSE_S
        if not at_once:
            await asyncio.sleep(pause_s)
            pause_s *= 2
        while named := list(self._vouchers.all().items()):
            waiting: list[_Named] = [(name, item) for name, item in named if name not in self._being_sent]
            try:
                for first in range(0, len(waiting), _BATCH):
                    await self._send(waiting[first : first + _BATCH])
            except ClientError as error:
                _log.info("vouchers are sent later: %s", error, extra={"event": "vouchers_kept"})
            if self._vouchers.all():
                await asyncio.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    async def _send(self, named: Sequence[_Named]) -> bool:
        """Send a batch, and forget what was decided; return whether all was.

        Raises:
            ClientError: the tracker does not take it now.
        """
        try:
            reply = await self._tracker.settle(SettlementBatch(items=tuple(item for _, item in named)))
        except TrackerError as error:
            if error.status not in _HOPELESS:
                raise
            if len(named) > 1:  # one of them spoils the others
                return all([await self._send([one]) for one in named])
            _warn("refused", str(error))
            self._forget(named[0])
            return True
        for one, result in zip(named, reply.results, strict=False):
            if result.status not in {"settled", "duplicate"}:
                _warn(result.status, result.reason)
            if result.status != "retry":
                self._forget(one)
        return len(reply.results) == len(named) and all(result.status != "retry" for result in reply.results)

    def _forget(self, named: _Named) -> None:
        if named[0] is not None:
            self._vouchers.remove(named[0])


def _warn(status: str, reason: str) -> None:
    extra = {"event": "voucher_not_settled", "status": status}
    _log.warning("a voucher was not settled: %s %s", status, reason, extra=extra)
