"""How a job leaves its nodes: the streams are closed behind the caller's back, and what is owed is signed and paid."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from gpunode_protocol.client_job import Completed
from gpunode_protocol.errors import GpunodeError, VerificationFailed
from gpunode_protocol.signing import Signed
from gpunode_protocol.vouchers import Voucher

from gpunode._accounting import JobAccounts
from gpunode._background import Background
from gpunode._blame import voids_answer
from gpunode._transport import JobLink


class Leaving:
    """The nodes that one job has left so far.

    Args:
        background: closes the streams.
        accounts: are told what is owed.
        signed: is told a node's last voucher as soon as it is signed; then the accounts are.
    """

    def __init__(
        self, background: Background, accounts: JobAccounts, signed: Callable[[Signed[Voucher]], None]
    ) -> None:
        self._background = background
        self._accounts = accounts
        self._signed = signed
        self._tasks: list[asyncio.Task[None]] = []
        self._unsigned: list[asyncio.Task[None]] = []

    def leave(self, link: JobLink, failure: GpunodeError | None, then: Callable[[], None]) -> None:
        """Pay what is owed and close the stream; a job that is not over is cancelled first. then: once it is closed."""
        if link.completed is not None:
            self._signed(link.completed.voucher)
            self._spawn(self._hand_over(link, link.completed), then)
        elif link.job.is_over:  # what is owed is known, and the next node's part may depend on it
            self._spawn(self._tell(link, failure, self._sign(link, failure)), then)
        else:
            self._unsigned.append(self._spawn(self._wind_down(link, failure), then))

    def withdraw(self, link: JobLink, then: Callable[[], None]) -> None:
        """Leave a node whose output was not needed: nothing more is signed for. then: once the stream is closed."""
        if link.job.last_voucher is not None:
            self._signed(link.job.last_voucher)
        self._spawn(link.withdraw(), then)

    def when_signed(self, call: Callable[[], None]) -> None:
        """Call when the last voucher for every node is signed: at once, or as soon as jobs that were cancelled end.

        Whether the nodes have got them is another matter, and takes longer.
        """
        if all(task.done() for task in self._unsigned):
            call()
        else:
            self._background.spawn(self._call_when_signed(call))

    async def all_told(self) -> None:
        """Wait until everybody was told what they are owed, some seconds at most."""
        if self._tasks:
            await asyncio.wait(self._tasks)  # a caller who waits no longer ends none of it

    def _spawn(self, leaving: Coroutine[Any, Any, None], then: Callable[[], None]) -> asyncio.Task[None]:
        task = self._background.spawn(leaving)
        task.add_done_callback(lambda _: then())
        self._tasks.append(task)
        return task

    async def _call_when_signed(self, call: Callable[[], None]) -> None:
        try:
            await asyncio.wait(self._unsigned)
        finally:
            call()

    async def _hand_over(self, link: JobLink, completed: Completed) -> None:
        if await link.hand_over():
            self._accounts.handed_over(completed.voucher, completed.receipt)
        else:
            self._accounts.submit(completed.voucher, completed.receipt)

    async def _wind_down(self, link: JobLink, failure: GpunodeError | None) -> None:
        await link.wind_down()
        await self._tell(link, failure, self._sign(link, failure))

    def _sign(self, link: JobLink, failure: GpunodeError | None) -> Signed[Voucher] | None:
        """Sign for what came last; return the last voucher, None if nothing came."""
        keeps_last = link.completed is not None or voids_answer(failure)
        voucher = link.job.last_voucher if keeps_last else link.job.closing_voucher()
        if voucher is not None:
            self._signed(voucher)  # also a liar's: it has what was signed before
        return voucher

    async def _tell(self, link: JobLink, failure: GpunodeError | None, voucher: Signed[Voucher] | None) -> None:
        if link.completed is not None:
            await self._hand_over(link, link.completed)
        elif voucher is not None and not voids_answer(failure):
            self._accounts.submit(voucher)
            await link.hand_over()
        elif isinstance(failure, VerificationFailed):
            link.abort()
        else:
            await link.stream.close()  # the node waits for it, so that its last words are read
