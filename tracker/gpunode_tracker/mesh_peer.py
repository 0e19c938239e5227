"""The tracker as the mesh's bootstrap peer. HTTP goes on working while there is no mesh."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.mesh import Mesh, MeshConfig, MeshState, PortInUse, create_mesh
from gpunode_protocol.mesh.advert_records import AdvertValidator
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.trust import Trust

from gpunode_tracker.config import TrackerSettings

logger = logging.getLogger(__name__)

MESH_KEY_FILE = "mesh.key"
START_RETRY_S = 10.0
ADDRESS_INTERVAL_S = 15.0


class MeshPeer:
    """Starts the mesh, tries again when it does not start (but for a taken port), and knows its addresses.

    Args:
        mesh: not started yet. validator: the mesh's own, which gets newer key sets and revocations.
    """

    def __init__(self, mesh: Mesh, validator: AdvertValidator) -> None:
        self._mesh = mesh
        self._validator = validator
        self._addresses: tuple[str, ...] = ()
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.on_addresses: Callable[[], None] = lambda: None  # called when they change

    @property
    def peer_id(self) -> str:
        """The tracker's peer id."""
        return self._mesh.peer_id

    @property
    def addresses(self) -> tuple[str, ...]:
        """Multiaddrs with ``/p2p/…`` by which others join."""
        return self._addresses

    @property
    def state(self) -> MeshState:
        """Where the mesh stands."""
        return self._mesh.status.state

    @property
    def problem(self) -> str:
        """What is wrong with it, empty if nothing is."""
        return self._mesh.status.problem

    @property
    def peers_known(self) -> int:
        """DHT servers in the routing table."""
        return self._mesh.status.peers_known

    def trust(self, trust: Trust, revocations: Revocations) -> None:
        """Judge records by a newer key set and revocation list from now on."""
        self._validator.trust, self._validator.revocations = trust, revocations

    async def start(self, stop: asyncio.Event) -> None:
        """Start the mesh in the background; return after the first attempt, or when ``stop`` is set.

        Raises:
            PortInUse: another program has the mesh's port.
        """
        self._task = asyncio.create_task(self._run())
        waits = [asyncio.create_task(event.wait()) for event in (self._tried, stop)]
        try:
            await asyncio.wait({self._task, *waits}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self._task.done():
            task, self._task = self._task, None
            task.result()

    async def stop(self) -> None:
        """Leave the mesh."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self._mesh.stop()

    async def _run(self) -> None:
        while True:
            try:
                await self._mesh.start()
                break
            except PortInUse:
                if not self._tried.is_set():
                    raise  # the operator is still looking
                logger.warning("The mesh's port is in use; trying again", extra={"event": "mesh_failed"})
            except GpunodeError as error:
                logger.error("The mesh did not start: %s", error, extra={"event": "mesh_failed"})  # noqa: TRY400 -- the message says it all
            self._tried.set()
            await asyncio.sleep(START_RETRY_S)
        while True:
            await self._read_addresses()
            self._tried.set()
            await asyncio.sleep(ADDRESS_INTERVAL_S)

    async def _read_addresses(self) -> None:
        try:
            found = await self._mesh.addresses()
        except GpunodeError:
            return  # p2pd is being restarted; its ports stay the same
        if found and found != self._addresses:
            self._addresses = found
            self.on_addresses()


def create_mesh_peer(settings: TrackerSettings, trust: Trust, revocations: Revocations) -> MeshPeer:
    """Return the tracker's mesh peer, not started.

    Raises:
        ModuleNotFoundError: hivemind is not installed. IdentityFileError: its key file cannot be used.
    """
    validator = AdvertValidator(trust, revocations)
    config = MeshConfig(
        identity_path=settings.data_dir / MESH_KEY_FILE,
        state_dir=_state_dir(settings.data_dir),
        listen_addresses=settings.mesh_addresses,
        announce_addresses=settings.announce_address,
        quic=settings.quic,
        relay_service=True,
        force_reachability="public",
    )
    return MeshPeer(create_mesh(config, validator), validator)


def _state_dir(data_dir: Path) -> Path:
    path = data_dir / "mesh"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
