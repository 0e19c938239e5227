"""Pausing and resuming, on a node with a fake engine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from gpunode_engines.engine_pool import EnginePool
from gpunode_engines.memory_plan import Capacity, Need, Resident
from gpunode_node.errors import StateUnwritable
from gpunode_node.job_intake import JobIntake
from gpunode_node.pause import Pause, PausedParts
from gpunode_protocol.client_job import Completed
from gpunode_protocol.messages import DrainingFrame, TokensFrame

from tests.engines.fake_engine import FakeEngine
from tests.node.job_client import JobClient
from tests.node.virtual_time import virtual_time
from tests.node.world import Node, llm_params, request, running_node


@dataclass
class _Presence:
    """Keeps what it was told, and whether the node took jobs then."""

    intake: JobIntake
    told: list[tuple[str, bool]] = field(default_factory=list)

    def hush(self) -> None:
        self.told.append(("hush", self.intake.closed))

    async def leave(self) -> None:
        self.told.append(("leave", self.intake.closed))

    async def come_back(self) -> None:
        self.told.append(("come back", self.intake.closed))


@dataclass
class _Tenant:
    """A model in memory."""

    name: str = "fake"
    loaded: bool = True

    def resident(self) -> Resident | None:
        need = Need(memory_bytes=1, on_card=False)
        return Resident(name=self.name, need=need, used_at=0, busy=False) if self.loaded else None

    async def leave(self) -> None:
        self.loaded = False

    def hasten(self) -> None:
        self.loaded = True

    def turned(self) -> None:
        pass


@dataclass
class _Paused:
    """The pause of a node, with what it acts on."""

    pause: Pause
    node: Node
    presence: _Presence
    tenant: _Tenant

    async def until(self, state: str) -> None:
        """Wait for a state; virtual time passes."""
        while self.pause.state != state:  # noqa: ASYNC110 -- nothing tells of it, and virtual time costs none
            await asyncio.sleep(1)


@contextlib.asynccontextmanager
async def _pausable(folder: Path, engine: FakeEngine | None = None) -> AsyncIterator[_Paused]:
    async with running_node(folder, engine) as node:
        presence, tenant = _Presence(node.intake), _Tenant()
        pool = EnginePool(Capacity(main_bytes=1, card_bytes=0))
        pool.add(tenant)
        parts = PausedParts(
            intake=node.intake,
            registry=node.registry,
            presence=presence,
            pool=pool,
            file=folder / "paused.json",
            drain_timeout_s=100.0,
        )
        pause = Pause(parts)
        running = asyncio.create_task(pause.run())
        try:
            yield _Paused(pause, node, presence, tenant)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@virtual_time
async def test_a_pause_withdraws_and_unloads_and_its_end_brings_all_back(tmp_path: Path) -> None:
    """Others hear of both: that it leaves once it takes no jobs any more, that it is back once it takes them again."""
    async with _pausable(tmp_path) as paused:
        paused.pause.ask_owner(paused=True)
        await paused.until("paused")
        assert paused.presence.told == [("hush", True), ("leave", True)]
        assert not paused.tenant.loaded
        assert "gpunode resume" in paused.pause.to_map()["reasons"][0]
        paused.pause.ask_owner(paused=False)
        await paused.until("serving")
        await asyncio.sleep(1)
        assert paused.presence.told[2:] == [("come back", False)]
        assert paused.tenant.loaded
        assert paused.pause.to_map() == {"state": "serving", "reasons": [], "jobs_unfinished": 0}


@virtual_time
async def test_running_jobs_are_finished_first(tmp_path: Path) -> None:
    """Their clients are told; the memory is given back afterwards."""
    engine = FakeEngine(answer="a" * 20, stepped=True)
    async with _pausable(tmp_path, engine) as paused:
        client = JobClient(paused.node.connect(), request(params=llm_params(max_tokens=20)))
        engine.step()
        await client.run(lambda event: isinstance(event, TokensFrame))
        paused.pause.set_reason("busy", "a game")
        await client.run(lambda event: isinstance(event, DrainingFrame))
        assert (paused.pause.state, paused.tenant.loaded) == ("pausing", True)
        engine.step(30)
        await client.run()
        assert isinstance(client.events[-1], Completed)
        await paused.until("paused")
        assert not paused.tenant.loaded


@virtual_time
async def test_a_reason_that_goes_away_ends_the_pause_at_once(tmp_path: Path) -> None:
    """Also while a job is still being finished; the models never leave memory then."""
    engine = FakeEngine(answer="a" * 20, stepped=True)
    async with _pausable(tmp_path, engine) as paused:
        client = JobClient(paused.node.connect(), request(params=llm_params(max_tokens=20)))
        engine.step()
        await client.run(lambda event: isinstance(event, TokensFrame))
        paused.pause.set_reason("busy", "a game")
        await paused.until("pausing")
        paused.pause.set_reason("busy", "")
        await paused.until("serving")
        assert paused.tenant.loaded
        assert not paused.node.intake.closed
        engine.step(30)


@virtual_time
async def test_every_reason_must_be_gone(tmp_path: Path) -> None:
    """The owner's word does not end what the schedule says."""
    async with _pausable(tmp_path) as paused:
        paused.pause.ask_owner(paused=True)
        paused.pause.set_reason("schedule", "it is 09:05")
        await paused.until("paused")
        paused.pause.ask_owner(paused=False)
        await asyncio.sleep(10)
        assert (paused.pause.state, paused.pause.to_map()["reasons"]) == ("paused", ["it is 09:05"])


@virtual_time
async def test_the_owners_pause_survives_a_restart(tmp_path: Path) -> None:
    """Until the owner resumes; where that cannot be kept, it is said and done for now."""
    async with _pausable(tmp_path) as first:
        first.pause.ask_owner(paused=True)
    async with _pausable(tmp_path) as second:
        assert second.pause.wanted
        second.pause.begin()
        assert second.node.intake.closed
        second.pause.ask_owner(paused=False)
    async with _pausable(tmp_path) as third:
        assert not third.pause.wanted
        (tmp_path / "paused.json").mkdir()
        with pytest.raises(StateUnwritable):
            third.pause.ask_owner(paused=True)
        assert third.pause.wanted
