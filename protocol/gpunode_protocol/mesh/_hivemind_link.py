"""One life of p2pd: the process, the attachment to it, and the DHT node on top."""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gpunode_protocol.identity import Identity
from gpunode_protocol.keyfile import write_identity
from gpunode_protocol.mesh._dht_node import RecordNode, ReplicaMemory
from gpunode_protocol.mesh._dht_protocol import RecordProtocol
from gpunode_protocol.mesh._hivemind_api import P2PDaemonError
from gpunode_protocol.mesh._hivemind_attach import AttachedP2P
from gpunode_protocol.mesh._p2pd import MAX_MESSAGE_BYTES, P2pd
from gpunode_protocol.mesh.config import MeshConfig
from gpunode_protocol.mesh.errors import MeshUnavailable
from gpunode_protocol.mesh.record_store import RecordStore
from gpunode_protocol.mesh.records import RecordValidator
from gpunode_protocol.mesh.runtime_dir import RuntimeDir


@dataclass(frozen=True, slots=True)
class Lasting:
    """What outlives p2pd: our key, where sockets go, records kept for others, the replicas of our own, the counters."""

    identity: Identity
    runtime_dir: RuntimeDir
    store: RecordStore
    validator: RecordValidator
    memory: ReplicaMemory
    lives: "itertools.count[int]"
    rejected: Counter[str]


class Link:
    """A running p2pd and everything that ends with it."""

    def __init__(self, daemon: P2pd, p2p: AttachedP2P, node: RecordNode) -> None:
        self.daemon = daemon
        self.p2p = p2p
        self.node = node
        self.protocol: RecordProtocol = node.protocol

    @classmethod
    async def open(cls, config: MeshConfig, lasting: Lasting, *, listen: Sequence[str], timeout_s: float) -> "Link":
        """Start p2pd, attach to it, and begin to answer DHT requests.

        Raises:
            P2pdFailed, MeshUnavailable: it did not start or does not answer.
        """
        life = next(lasting.lives)
        sockets = lasting.runtime_dir.restore()
        with _with_key_file(config, lasting.identity, sockets) as having_key:
            socket = sockets / f"d{life}.sock"
            daemon = await P2pd.start(having_key, control_socket=socket, listen=listen, timeout_s=timeout_s)
        try:
            p2p = await AttachedP2P.attach(
                daemon.control_socket, sockets / f"c{life}.sock", max_message_bytes=MAX_MESSAGE_BYTES
            )
            try:
                async with asyncio.timeout(timeout_s):
                    protocol = await RecordProtocol.create_for(
                        p2p,
                        store=lasting.store,
                        validator=lasting.validator,
                        rejected=lasting.rejected,
                        client_mode=config.client_mode,
                        rpc_timeout_s=config.rpc_timeout_s,
                    )
            except (OSError, TimeoutError, P2PDaemonError) as error:
                await p2p.detach()
                raise MeshUnavailable("p2pd died or stopped answering while it was attached to.") from error
            except BaseException:
                await p2p.detach()
                raise
        except BaseException:
            await daemon.stop()
            raise
        return cls(daemon, p2p, RecordNode.create_for(protocol, lasting.memory))

    async def close(self) -> None:
        """End it all; p2pd may be dead already."""
        self.node.is_alive = False
        await self.protocol.shutdown()
        await self.p2p.detach()
        await self.daemon.stop()


@contextlib.contextmanager
def _with_key_file(config: MeshConfig, identity: Identity, folder: Path) -> Iterator[MeshConfig]:
    """Give p2pd the key to read while it starts, also if its file was deleted: then a copy that does not stay."""
    if config.identity_path.exists():
        yield config
        return
    path = folder / "identity.key"
    try:
        write_identity(path, identity)
        yield replace(config, identity_path=path)
    except OSError as error:
        raise MeshUnavailable(f"p2pd cannot be given its key: {error}") from error
    finally:
        path.unlink(missing_ok=True)
