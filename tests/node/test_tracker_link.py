"""Registration, heartbeats and settlement against a tracker on loopback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gpunode_node.credentials import CredentialsFile
from gpunode_node.errors import TrackerRefused, TrackerUnreachable
from gpunode_node.ledger_watch import LedgerWatch
from gpunode_node.network_state import NetworkState
from gpunode_node.tracker_client import TrackerClient
from gpunode_node.tracker_link import SelfDescription, TrackerLink, Vitals
from gpunode_protocol.certificates import Certificate, certificate_for
from gpunode_protocol.errors import BadSignature
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import read_body, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import RoundTrip, SettlementBatch, SettlementItem

from tests.node.fake_tracker import FakeTracker, certificate, running_tracker
from tests.node.settlements import tree_head, voucher
from tests.node.world import EPOCH, KID, NETWORK, NODE, OTHER, TRACKER, revocations


@contextlib.asynccontextmanager
async def _linked(folder: Path) -> AsyncIterator[tuple[FakeTracker, TrackerLink, NetworkState]]:
    async with running_tracker() as tracker:
        state = NetworkState(folder / "network.json")
        client = TrackerClient(tracker.url, attempts=1)
        watch = LedgerWatch(folder / "ledger.json", client.consistency)
        link = TrackerLink(client, NODE, state, CredentialsFile(folder / "worker.json"), watch, lambda: EPOCH)
        await link.fetch_network()
        yield tracker, link, state
        await client.close()


async def test_registration(tmp_path: Path) -> None:
    """The node proves its key; token and certificate are kept."""
    async with _linked(tmp_path) as (tracker, link, _):
        link.describe(SelfDescription(name="box", gpu_model="GTX", gpu_memory_mb=8, tasks=(Task.LLM,)))
        credentials = await link.register()
        assert (credentials.token, credentials.region) == ("token-1", Region.EUROPE)
        assert tracker.registrations[0].supported_tasks == (Task.LLM,)
        assert CredentialsFile(tmp_path / "worker.json").load() == credentials


async def test_the_configured_region_counts(tmp_path: Path) -> None:
    """What the owner says wins over what the tracker sees."""
    async with _linked(tmp_path) as (_, link, _state):
        link.describe(SelfDescription(region=Region.ASIA))
        assert (await link.register()).region is Region.ASIA


@pytest.mark.parametrize("kind", ["forged", "foreign"])
async def test_a_certificate_that_does_not_verify(tmp_path: Path, kind: str) -> None:
    """It is not used, whoever sent it."""
    signer, peer = (OTHER, NODE) if kind == "forged" else (TRACKER, OTHER)
    bad = sign(signer, certificate_for(peer.peer_id, network=NETWORK, kid=KID, now=EPOCH)).envelope
    async with _linked(tmp_path) as (tracker, link, _):
        tracker.certificate = lambda: bad
        with pytest.raises((BadSignature, TrackerUnreachable), match="certificate"):
            await link.register()
        assert link.credentials is None


async def test_a_clock_that_goes_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each heartbeat compares the clocks: the owner is told by how much it is off, until it is set."""
    async with _linked(tmp_path) as (tracker, link, _):
        await link.register()
        tracker.heartbeat_changes = {"time": EPOCH - 120}
        await link.beat(Vitals())
        await link.beat(Vitals())
        assert "120 s ahead of the tracker's" in link.clock_problem
        assert "NTP" in link.clock_problem
        assert [record.levelname for record in caplog.records if "clock" in record.message] == ["ERROR"]
        tracker.heartbeat_changes = {}
        await link.beat(Vitals())
        assert link.clock_problem == ""


async def test_a_heartbeat(tmp_path: Path) -> None:
    """It carries adverts and status, and brings revocations and a fresh certificate."""
    newer = certificate(EPOCH - 60)
    async with _linked(tmp_path) as (tracker, link, state):
        await link.register()
        tracker.heartbeat_changes = {
            "revocations": revocations("bad", sequence=7).envelope,
            "certificate": newer,
            "adverts_refused": ("too old",),
        }
        assert await link.beat(Vitals(adverts=(certificate(),), busy=True, memory_total_mb=9)) is True
        (beat,) = tracker.heartbeats
        assert (beat.status, len(beat.adverts), beat.memory_total_mb) == ("busy", 1, 9)
        assert state.view.revocations is not None
        assert state.view.revocations.grants == ("bad",)
        assert link.credentials is not None
        assert read_body(Certificate, link.credentials.certificate).issued_at == EPOCH - 60
        await link.beat(Vitals(), leaving=True)
        assert tracker.heartbeats[-1].status == "offline"


async def test_what_a_node_measured_and_what_others_say_of_its_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Round trips go with the heartbeat; a doubtful place is told to the owner once, until it is believed again."""
    trip = RoundTrip(peer=NODE.peer_id, rtt_ms=7, region=Region.ASIA, latitude=36, longitude=140)
    async with _linked(tmp_path) as (tracker, link, _):
        tracker.heartbeat_changes = {"place_doubtful": True}
        for _ in range(2):
            await link.beat(Vitals(round_trips=(trip,)))
        assert tracker.heartbeats[0].round_trips == (trip,)
        assert "--latitude" in link.place_problem
        assert [record.message for record in caplog.records].count(link.place_problem) == 1
        tracker.heartbeat_changes = {}
        await link.beat(Vitals())
        assert link.place_problem == ""


async def test_a_forgotten_token(tmp_path: Path) -> None:
    """401 means: register again, once, and go on."""
    async with _linked(tmp_path) as (tracker, link, _):
        await link.register()
        tracker.tokens = []
        batch = SettlementBatch(items=(SettlementItem(voucher=voucher(1).envelope),))
        beaten, settled, _balance = await asyncio.gather(link.beat(Vitals()), link.settle(batch), link.balance())
        assert beaten is True
        assert settled.results[0].status == "settled"
        assert len(tracker.registrations) == 2


async def test_a_token_that_was_lost_while_the_disk_is_full(tmp_path: Path) -> None:
    """Vouchers wait, and the node goes on; the new token counts, though only until the next start."""
    async with _linked(tmp_path) as (tracker, link, _):
        await link.register()
        tracker.tokens = []
        (tmp_path / "worker.json").unlink()
        (tmp_path / "worker.json").mkdir()  # as little can be written there as to a full disk
        batch = SettlementBatch(items=(SettlementItem(voucher=voucher(1).envelope),))
        with pytest.raises(TrackerUnreachable, match=r"worker\.json cannot be written"):
            await link.settle(batch)
        assert (await link.settle(batch)).results[0].status == "settled"
        assert len(tracker.registrations) == 2


async def test_a_node_that_never_registered(tmp_path: Path) -> None:
    """The first heartbeat that gets through registers it."""
    async with _linked(tmp_path) as (tracker, link, _):
        assert await link.beat(Vitals()) is True
        assert len(tracker.registrations) == 1


async def test_a_tracker_that_is_down(tmp_path: Path) -> None:
    """A heartbeat fails quietly, says why, and forgets that when the tracker is back."""
    async with _linked(tmp_path) as (tracker, link, _):
        await link.register()
        tracker.down = True
        assert await link.beat(Vitals()) is False
        assert "503" in link.problem
        returned: list[bool] = []
        link.on_return = lambda: returned.append(True)
        tracker.down = False
        assert await link.beat(Vitals()) is True
        assert link.problem == ""
        assert returned == [True]


async def test_heartbeats_repeat(tmp_path: Path) -> None:
    """After a failure soon, and again when the tracker is back."""
    async with _linked(tmp_path) as (tracker, link, _):
        await link.register()
        beat = asyncio.Event()
        original = link.beat

        async def noted(vitals: Vitals, *, leaving: bool = False) -> bool:
            result = await original(vitals, leaving=leaving)
            beat.set()
            return result

        link.beat = noted  # type: ignore[method-assign]  # -- the test listens
        running = asyncio.create_task(link.run(Vitals))
        await beat.wait()
        running.cancel()
        assert len(tracker.heartbeats) == 1


async def test_heartbeats_bring_the_ledgers_head(tmp_path: Path) -> None:
    """Each is checked against the one before; a contradiction stays visible."""
    async with _linked(tmp_path) as (tracker, link, _):
        await link.register()
        for number, root in enumerate((b"a" * 32, b"b" * 32)):
            tracker.heartbeat_changes = {"head": tree_head(3, root, issued_at=EPOCH + number).envelope}
            assert await link.beat(Vitals()) is True
        assert "two histories" in link.watch.problem


async def test_link(tmp_path: Path) -> None:
    """The node's consent is signed with its key; a wrong API key is the tracker's refusal."""
    async with _linked(tmp_path) as (_, link, _state):
        assert (await link.link("good-key")).moved_microcredits == 42
        with pytest.raises(TrackerRefused):
            await link.link("bad-key")
