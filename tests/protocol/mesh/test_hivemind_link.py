import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from gpunode_protocol.identity import Identity
from gpunode_protocol.mesh import MeshUnavailable, load_or_create_identity
from gpunode_protocol.mesh._dht_node import ReplicaMemory
from gpunode_protocol.mesh._hivemind_attach import AttachedP2P
from gpunode_protocol.mesh._hivemind_link import Lasting, Link
from gpunode_protocol.mesh.config import LOOPBACK_ADDRESSES, MeshConfig
from gpunode_protocol.mesh.record_store import RecordStore
from gpunode_protocol.mesh.runtime_dir import RuntimeDir, default_parents

from tests.protocol.mesh.plain_records import PlainValidator


@pytest.fixture
def lasting() -> Iterator[Lasting]:
    """What outlives a link."""
    directory = RuntimeDir.create(default_parents(None))
    yield Lasting(
        Identity.generate(), directory, RecordStore(), PlainValidator(), ReplicaMemory(), itertools.count(), Counter()
    )
    directory.remove()


@pytest.fixture
def config(tmp_path: Path) -> MeshConfig:
    """A configuration with a key."""
    load_or_create_identity(tmp_path / "identity.key")
    return MeshConfig(identity_path=tmp_path / "identity.key")


async def open_link(config: MeshConfig, lasting: Lasting) -> Link:
    """Start p2pd and everything on it."""
    return await Link.open(config, lasting, listen=LOOPBACK_ADDRESSES, timeout_s=20)


async def test_link_has_the_identity_of_the_key_file(config: MeshConfig, lasting: Lasting) -> None:
    """p2pd, DHT node and key agree on who we are."""
    link = await open_link(config, lasting)
    identity = load_or_create_identity(config.identity_path)
    assert link.p2p.peer_id.to_base58() == link.node.peer_id.to_base58() == identity.peer_id
    await link.close()


async def test_closing_ends_the_daemon_and_can_follow_its_death(config: MeshConfig, lasting: Lasting) -> None:
    """A link is closed in the same way whether p2pd lives or not."""
    link = await open_link(config, lasting)
    process = psutil.Process(link.daemon.pid)
    process.kill()
    await link.daemon.wait()
    await link.close()
    assert not process.is_running()


async def test_lives_have_sockets_of_their_own(config: MeshConfig, lasting: Lasting) -> None:
    """A new daemon cannot trip over what a killed one left."""
    first = await open_link(replace(config, client_mode=True), lasting)
    second = await open_link(replace(config, client_mode=True), lasting)
    assert first.daemon.control_socket != second.daemon.control_socket
    await first.close()
    await second.close()


async def test_failed_attachment_leaves_no_daemon(
    config: MeshConfig, lasting: Lasting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was started is ended when the rest fails."""

    async def refuse(*_: object, **__: object) -> AttachedP2P:
        raise MeshUnavailable

    monkeypatch.setattr(AttachedP2P, "attach", refuse)
    before = set(psutil.Process().children())
    with pytest.raises(MeshUnavailable):
        await open_link(config, lasting)
    assert set(psutil.Process().children()) <= before
