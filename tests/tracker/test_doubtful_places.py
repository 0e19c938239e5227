"""From the round trips that nodes tell the tracker to the nodes that a client's jobs avoid: both real, over HTTP."""

from pathlib import Path

import pytest
from gpunode import AsyncInferenceClient
from gpunode._surroundings import Surroundings
from gpunode.config import ClientConfig
from gpunode.errors import NoNodeFound
from gpunode.routing import Limits
from gpunode_protocol import tracker_api as api
from gpunode_protocol.adverts import Advert
from gpunode_protocol.doubts import PLACE_DOUBTFUL
from gpunode_protocol.geography import Position
from gpunode_protocol.identity import Identity
from gpunode_protocol.messages import JOB_PROTOCOL, PROBE_PROTOCOL
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Signed

from tests.sdk.memory_mesh import MemoryMesh, MemoryNetwork
from tests.sdk.scripted_node import ScriptedNode
from tests.sdk.world import HELLO
from tests.tracker.conftest import World
from tests.tracker.parties import MODEL, TestClock, advert

FRANKFURT, SYDNEY = Position(50, 9), Position(-34, 151)


class _Nodes:
    """Nodes that register, answer probes and jobs, and tell the tracker what they measured."""

    def __init__(self, world: World, clock: TestClock) -> None:
        self.mesh = MemoryNetwork()
        self._world = world
        self._clock = clock

    async def add(self, region: Region, position: Position, *trips: api.RoundTrip) -> Signed[Advert]:
        """Add a node with an account of its own; it says where it is."""
        node = Identity.generate()
        registered = await self._world.register(node)
        await self._world.link(node, (await self._world.account())[1])
        place = {"latitude": position.latitude, "longitude": position.longitude}
        own = advert(node, registered.certificate, self._world.network, region=region, **place)
        body = api.HeartbeatRequest(status="online", adverts=(own.envelope,), round_trips=trips)
        path = api.HEARTBEAT_PATH.format(peer=node.peer_id)
        assert (await self._world.post(path, body, token=registered.token)).status == 200
        script = ScriptedNode(node, self._world.tracker.keys.trust, self._clock, fingerprint=bytes(32))
        self.mesh.handlers[node.peer_id, PROBE_PROTOCOL] = script.serve_probe
        self.mesh.handlers[node.peer_id, JOB_PROTOCOL] = script.serve_job
        self.mesh.announce(own)
        return own

    async def client(self, folder: Path) -> AsyncInferenceClient:
        """Return a client of this network; the test closes it."""
        key = (await self._world.account())[1]
        given = {"tracker": str(self._world.http.make_url("")), "api_key": key, "state_dir": folder}
        surroundings = Surroundings(
            create_mesh=lambda config, validator: MemoryMesh(self.mesh, config, validator, self._clock),
            clock=self._clock,
            resume_for_s=0.0,
        )
        return AsyncInferenceClient.from_config(ClientConfig.load(given), surroundings)


async def test_a_claim_that_contradicts_physics(world: World, clock: TestClock, tmp_path: Path) -> None:
    """A node that says Sydney answers three in Frankfurt within 2 ms: doubted, told, and left out on demand."""
    nodes = _Nodes(world, clock)
    liar = (await nodes.add(Region.OCEANIA, SYDNEY)).body
    trip = api.RoundTrip(peer=liar.peer, rtt_ms=2, region=liar.region, latitude=liar.latitude, longitude=liar.longitude)
    honest = {(await nodes.add(Region.EUROPE, FRANKFURT, trip)).body.peer for _ in range(2)}
    world.tracker.judge_places()
    async with await nodes.client(tmp_path / "before") as client:
        told = await client.explain(model=MODEL, limits=Limits(exclude_doubtful_places=True))
        assert {item.node for item in told.candidates} == {*honest, liar.peer}, "two accounts prove nothing"

    honest.add((await nodes.add(Region.EUROPE, FRANKFURT, trip)).body.peer)
    world.tracker.judge_places()
    async with await nodes.client(tmp_path / "after") as client:
        told = await client.explain(model=MODEL)
        assert {item.node for item in told.candidates if item.place_doubtful} == {liar.peer}
        assert PLACE_DOUBTFUL in next(item.why for item in told.candidates if item.node == liar.peer)
        strict = await client.explain(model=MODEL, limits=Limits(exclude_doubtful_places=True))
        assert ({item.node for item in strict.candidates}, strict.excluded) == (honest, {PLACE_DOUBTFUL: 1})
        pinned = await client.chat(messages=HELLO, model=MODEL, region=Region.OCEANIA)
        assert pinned.route.node == liar.peer, "it still gets jobs of those who do not mind"
        with pytest.raises(NoNodeFound, match=f"1 x {PLACE_DOUBTFUL}"):
            await client.chat(
                messages=HELLO, model=MODEL, region=Region.OCEANIA, limits=Limits(exclude_doubtful_places=True)
            )
