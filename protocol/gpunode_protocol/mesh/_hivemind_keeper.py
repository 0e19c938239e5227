"""Keeps p2pd alive: watches its exit, starts it again with growing delays, and tells when there is a link."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from gpunode_protocol.mesh._hivemind_link import Lasting, Link
from gpunode_protocol.mesh._p2pd import require_free_ports
from gpunode_protocol.mesh.config import MeshConfig
from gpunode_protocol.mesh.errors import MeshError, MeshUnavailable
from gpunode_protocol.mesh.multiaddrs import pin_ports

_log = logging.getLogger(__name__)

RESTART_DELAY_S = 0.25
MAX_RESTART_DELAY_S = 30.0

STABLE_AFTER_S = 60.0
"""A p2pd that lived this long starts the delays from the beginning."""

RESTART_TIMEOUT_S = 15.0


class LinkKeeper:
    """Owns the current link.

    Args:
        config: how to start p2pd.
        lasting: what outlives a link.
        prepare: called with every new link before anybody else may use it.
        on_link: called when there is one.
    """

    def __init__(
        self,
        config: MeshConfig,
        lasting: Lasting,
        prepare: Callable[[Link], Awaitable[None]],
        on_link: Callable[[], None],
    ) -> None:
        self._config = config
        self._lasting = lasting
        self._prepare = prepare
        self._on_link = on_link
        self._available = asyncio.Event()
        self._listen = config.listen_addresses
        self._watch_task: asyncio.Task[None] | None = None
        self.link: Link | None = None
        self.restarts = 0

    async def start(self, timeout_s: float) -> Link:
        """Start p2pd for the first time.

        Raises:
            PortInUse: another program has a listen port. A restart later takes any port instead.
            P2pdFailed, MeshUnavailable: it did not start within ``timeout_s`` seconds.
        """
        require_free_ports(self._config)
        link = await self._connect(timeout_s)
        self._watch_task = asyncio.create_task(self._watch())
        return link

    async def stop(self) -> None:
        """End p2pd and the watch over it."""
        if self._watch_task is not None:
            self._watch_task.cancel()
            await asyncio.gather(self._watch_task, return_exceptions=True)
        if self.link is not None:
            link, self.link = self.link, None
            self._available.clear()
            await link.close()

    async def current(self, timeout_s: float) -> Link:
        """Return the link; while p2pd is being restarted, wait for the next one.

        Raises:
            MeshUnavailable: there was none within ``timeout_s`` seconds.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while self.link is None:
                    await self._available.wait()
        except TimeoutError as error:
            raise MeshUnavailable from error
        return self.link

    async def replace_cut_off(self) -> None:
        """End a p2pd whose socket was deleted, so that the next one takes its place: no stream goes through it."""
        link = self.link
        if link is not None and not link.daemon.control_socket.exists():
            _log.warning("p2pd's socket was deleted; starting it again", extra={"event": "p2pd_cut_off"})
            link.daemon.kill()
            await link.daemon.wait()  # the watch has waited longer, and has taken the link away by now

    async def _connect(self, timeout_s: float) -> Link:
        link = await Link.open(self._config, self._lasting, listen=self._listen, timeout_s=timeout_s)
        try:
            await self._prepare(link)
            # a restarted p2pd must come back where others look for it
            self._listen = pin_ports(self._listen, await link.p2p.listen_addresses())
        except BaseException:
            await link.close()
            raise
        self.link = link
        self._available.set()
        self._on_link()
        return link

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        delay_s = RESTART_DELAY_S
        while True:
            link, since_s = await self.current(RESTART_TIMEOUT_S), loop.time()
            code = await link.daemon.wait()
            self.link = None
            self._available.clear()
            self.restarts += 1
            _log.warning("p2pd ended with code %d; starting it again", code, extra={"event": "p2pd_ended"})
            await link.close()
            if loop.time() - since_s > STABLE_AFTER_S:
                delay_s = RESTART_DELAY_S
            while self.link is None:
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))  # noqa: S311 -- jitter
                delay_s = min(2 * delay_s, MAX_RESTART_DELAY_S)
                await self._connect_again()

    async def _connect_again(self) -> None:
        try:
            await self._connect(RESTART_TIMEOUT_S)
        except MeshError as error:
            _log.error("p2pd cannot be started again: %s", error, extra={"event": "p2pd_restart_failed"})
        except Exception:  # noqa: BLE001 -- a bug here must not end the supervision for good
            _log.exception("starting p2pd again failed", extra={"event": "p2pd_restart_failed"})
        else:
            return
        self._listen = self._config.listen_addresses  # another process may have taken the port meanwhile
