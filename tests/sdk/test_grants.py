import asyncio
import json
import stat
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from gpunode._grants import GrantStore, GrantTerms, HeldGrant
from gpunode._job_cost import JobCost, Sum
from gpunode._network import Network, verify_network
from gpunode._network_prices import NetworkPrices
from gpunode.errors import InsufficientCredits, TrackerError, TrackerUnreachable
from gpunode_protocol.identity import Identity
from gpunode_protocol.prices import DEFAULT_PRICES
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import GrantReply, GrantRequest, NetworkInfo

from tests.node.virtual_time import virtual_time
from tests.sdk.scripted_node import PROMPT_TOKENS
from tests.sdk.world import EPOCH, HELLO, MODEL, FakeTracker, Keys, World, dearer

CLIENT = Identity.from_seed(b"\x04" * 32)


def _flat(microcredits: int) -> Sum:
    return Sum(lambda _prices: microcredits)


class _Desk:
    """A grant store with its tracker, clock and background work."""

    def __init__(self, folder: Path, *, client: Identity = CLIENT) -> None:
        self.now = float(EPOCH)
        self.keys = Keys()
        self.tracker = FakeTracker(self.keys, lambda: self.now)
        self.path = folder / "grants.json"
        self.client = client
        self.spawned: list[Coroutine[Any, Any, None]] = []
        self.known = verify_network(self.keys.network_info(), self.keys.root.public_key, before=None)
        self.store = self.reopened()

    def reopened(self) -> GrantStore:
        """Return a store as after a restart."""
        return GrantStore(
            self.tracker,
            self.path,
            terms=GrantTerms(self.client.peer_id, 10_000_000),
            trust=lambda: self.keys.trust,
            prices=NetworkPrices(self.network, self.fetch),
            clock=lambda: self.now,
            spawn=self.spawned.append,
        )

    def network(self) -> Network:
        """Return what the client knows of the network."""
        return self.known

    async def fetch(self) -> Network:
        """Ask the tracker."""
        self.known = verify_network(await self.tracker.network(), self.keys.root.public_key, before=None)
        return self.known

    def change_prices(self, version: int = 2) -> None:
        """Have the tracker take ten times the prices; nobody tells the client."""
        self.tracker.info = self.keys.network_info(prices=dearer(10, version=version))

    async def settle(self) -> None:
        """Do the background work."""
        while self.spawned:
            await self.spawned.pop(0)


@pytest.fixture
def desk(tmp_path: Path) -> _Desk:
    """A new client's desk."""
    return _Desk(tmp_path)


async def test_one_grant_serves_many_jobs(desk: _Desk) -> None:
    """The tracker is asked once, also by jobs that start together."""
    grants = await asyncio.gather(*(desk.store.get(Task.LLM) for _ in range(5)))
    assert {held.grant.jti for held in grants} == {"grant-1"}
    assert desk.tracker.grants[0].open_microcredits == 10_000_000


async def test_whether_one_is_held(desk: _Desk) -> None:
    """That is, one that lives and covers the job."""
    assert not desk.store.holds(Task.LLM, cost=_flat(1))
    await desk.store.get(Task.LLM)
    assert desk.store.holds(Task.LLM, cost=_flat(10_000_000))
    assert not desk.store.holds(Task.LLM, cost=_flat(10_000_001))
    desk.now += 3_600
    assert not desk.store.holds(Task.LLM, cost=_flat(1))


async def test_a_grant_outlives_the_process(desk: _Desk) -> None:
    """It is kept in a file that only its owner can read."""
    await desk.store.get(Task.LLM)
    assert stat.S_IMODE(desk.path.stat().st_mode) == 0o600
    desk.tracker.down = True
    assert (await desk.reopened().get(Task.LLM)).grant.jti == "grant-1"


async def test_past_half_its_life_it_is_renewed_in_the_background(desk: _Desk) -> None:
    """The old one serves until the new one is there."""
    await desk.store.get(Task.LLM)
    desk.now += 1_801
    assert (await desk.store.get(Task.LLM)).grant.jti == "grant-1"
    assert (await desk.store.get(Task.LLM)).grant.jti == "grant-1"
    assert len(desk.spawned) == 1
    await desk.settle()
    assert (await desk.store.get(Task.LLM)).grant.jti == "grant-2"


async def test_a_failed_renewal_is_not_hurried(desk: _Desk) -> None:
    """The tracker is down: the old grant serves, the next attempt comes half a minute later."""
    await desk.store.get(Task.LLM)
    desk.now += 1_801
    desk.tracker.down = True
    await desk.store.get(Task.LLM)
    await desk.settle()
    desk.tracker.down = False
    await desk.store.get(Task.LLM)
    await desk.settle()
    assert len(desk.tracker.grants) == 1
    desk.now += 31
    await desk.store.get(Task.LLM)
    await desk.settle()
    assert len(desk.tracker.grants) == 2


async def test_an_expired_grant_is_not_used(desk: _Desk) -> None:
    """With the tracker down, that is an error."""
    await desk.store.get(Task.LLM)
    desk.now += 3_600
    desk.tracker.down = True
    with pytest.raises(TrackerUnreachable):
        await desk.store.get(Task.LLM)


async def test_a_dearer_job_gets_a_larger_grant(desk: _Desk) -> None:
    """A grant whose cap is below the job's worst case would be refused."""
    await desk.store.get(Task.LLM)
    held = await desk.store.get(Task.LLM, cost=_flat(20_000_000))
    assert held.grant.cap.open == 20_000_000


async def test_a_refused_grant_is_replaced_once_for_all(desk: _Desk) -> None:
    """Two jobs whose grant was refused share the new one."""
    await desk.store.get(Task.LLM)
    first = await desk.store.replace(Task.LLM, refused="grant-1")
    second = await desk.store.replace(Task.LLM, refused="grant-1")
    assert (first.grant.jti, second.grant.jti) == ("grant-2", "grant-2")


@virtual_time
async def test_a_poor_account_reserves_what_it_has(desk: _Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than the usual reservation is fine if the job fits."""
    issue, desk.tracker.spendable_microcredits = desk.tracker.grant, 3_000_000

    async def grant(request: GrantRequest) -> GrantReply:
        if (request.open_microcredits or 0) > 3_000_000:
            raise InsufficientCredits("too few credits", status=402)
        return await issue(request)

    monkeypatch.setattr(desk.tracker, "grant", grant)
    assert (await desk.store.get(Task.LLM, cost=_flat(1_000))).grant.cap.open == 3_000_000
    with pytest.raises(InsufficientCredits):
        await desk.store.get(Task.LLM, cost=_flat(4_000_000))


async def test_a_forged_grant_is_not_taken(desk: _Desk) -> None:
    """What the tracker sends must verify against the pinned network."""
    desk.tracker.keys = Keys(signer=Identity.from_seed(b"\x09" * 32))
    with pytest.raises(TrackerError, match="does not verify"):
        await desk.store.get(Task.LLM)


async def test_kept_grants_of_another_key_or_damaged_files_count_as_none(desk: _Desk, tmp_path: Path) -> None:
    """The identity was replaced, or the file is garbage."""
    await desk.store.get(Task.LLM)
    other = _Desk(tmp_path, client=Identity.from_seed(b"\x08" * 32))
    assert (await other.store.get(Task.LLM)).grant.cnf.peer == other.client.peer_id
    for content in ("{", json.dumps(["not a token", 7]), json.dumps({"a": 1})):
        desk.path.write_text(content, encoding="utf-8")
        assert await desk.reopened().get(Task.LLM)


async def test_a_grant_in_a_nodes_name(desk: _Desk) -> None:
    """It is for that node only, and not kept for others."""
    node = Identity.from_seed(b"\x03" * 32).peer_id
    held = await desk.store.named(Task.LLM, node, cost=_flat(60_000_000))
    assert held.grant.cap.nodes == {node: 60_000_000}
    assert (await desk.store.get(Task.LLM)).grant.cap.open == 10_000_000


async def test_a_grant_that_others_use_up_serves_no_more_jobs(desk: _Desk) -> None:
    """Nodes know what it has cost with them only, so the client counts what all of them may get."""
    first = [await desk.store.get(Task.LLM, cost=_flat(4_000_000)) for _ in range(2)]
    other = await desk.store.get(Task.LLM, cost=_flat(4_000_000))
    assert [held.grant.jti for held in (*first, other)] == ["grant-1", "grant-1", "grant-2"]


async def test_jobs_that_are_refused_together_do_not_overdraw_the_next_grant(desk: _Desk) -> None:
    """Who comes too late for what is left of it gets another one."""
    first = await desk.store.get(Task.LLM, cost=_flat(6_000_000))
    others = [
        await desk.store.replace(Task.LLM, refused=first.grant.jti, cost=_flat(cost))
        for cost in (6_000_000, 4_000_000, 6_000_000)
    ]
    assert [held.grant.jti for held in others] == ["grant-2", "grant-2", "grant-3"]


async def test_what_a_job_did_not_cost_is_there_for_the_next(desk: _Desk) -> None:
    """Only what was signed for stays spent."""
    for _ in range(3):
        held = await desk.store.get(Task.LLM, cost=_flat(9_000_000))
        desk.store.spend(held.grant.jti, 300_000)
        desk.store.give_back(held, cost_microcredits=9_000_000)
    assert len(desk.tracker.grants) == 1
    await desk.store.get(Task.LLM, cost=_flat(9_200_000))
    assert len(desk.tracker.grants) == 2


async def _poor(desk: _Desk, monkeypatch: pytest.MonkeyPatch) -> HeldGrant:
    """Give everything that an account has to a job; return its grant."""
    held = await desk.store.get(Task.LLM, cost=_flat(6_000_000))

    async def grant(_request: GrantRequest) -> GrantReply:
        raise InsufficientCredits("nothing left")

    monkeypatch.setattr(desk.tracker, "grant", grant)
    desk.tracker.spendable_microcredits = 0
    return held


@virtual_time
async def test_the_rest_of_an_account_comes_back_with_the_job_before(
    desk: _Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that was cancelled takes seconds to end: the next one waits for what it does not cost."""
    held = await _poor(desk, monkeypatch)
    asking = asyncio.create_task(desk.store.get(Task.LLM, cost=_flat(6_000_000)))
    await asyncio.sleep(3)
    desk.store.spend(held.grant.jti, 1_000)
    desk.store.give_back(held, cost_microcredits=6_000_000)
    assert (await asking).grant.jti == held.grant.jti


@virtual_time
async def test_an_account_with_too_little_is_told_so(desk: _Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once if nothing will come back, else after some seconds."""
    loop, held = asyncio.get_running_loop(), await _poor(desk, monkeypatch)
    for least_s, most_s in ((5, 7), (0, 0)):
        asked_at = loop.time()
        with pytest.raises(InsufficientCredits):
            await desk.store.get(Task.LLM, cost=_flat(11_000_000))
        assert least_s <= loop.time() - asked_at <= most_s
        desk.store.give_back(held, cost_microcredits=6_000_000)


async def test_whether_a_job_may_cost_more_than_was_promised(desk: _Desk) -> None:
    """Of what others leave, beside what it has cost already."""
    held = await desk.store.get(Task.LLM, cost=_flat(4_000_000))
    await desk.store.get(Task.LLM, cost=_flat(3_000_000))
    desk.store.spend(held.grant.jti, 1_000_000)
    for cost, is_covered in ((6_000_000, True), (6_000_001, False)):
        covers = desk.store.covers(held, promised_microcredits=4_000_000, cost_microcredits=cost)
        assert covers is is_covered


async def test_holding_one_promises_nothing(desk: _Desk) -> None:
    """It only sees to it that there is one."""
    await desk.store.hold(Task.LLM, cost=_flat(10_000_000))
    await desk.store.get(Task.LLM, cost=_flat(10_000_000))
    assert len(desk.tracker.grants) == 1


async def test_jobs_at_several_nodes_stay_within_what_is_reserved(world: World) -> None:
    """Each of six nodes would do them all for one grant: the client asks for the next one in time."""
    for _ in range(6):
        world.add_node()
    cost = DEFAULT_PRICES.cost_microcredits(Task.LLM, MODEL, input_units=PROMPT_TOKENS, output_units=4)
    signed = Counter[str]()
    async with world.client(grant_microcredits=8_000) as client:
        for _ in range(10):
            for answer in await asyncio.gather(*(client.chat(messages=HELLO, max_tokens=8) for _ in range(12))):
                signed[answer.receipt.voucher.body.jti] += cost
    assert sum(signed.values()) == 120 * cost > 8_000
    assert max(signed.values()) <= 8_000


async def test_what_a_kept_grant_has_cost_is_not_forgotten(desk: _Desk) -> None:
    """The next run takes another one when it is used up: the tracker pays nodes no more than was reserved."""
    cap = (await desk.store.get(Task.LLM)).grant.cap.open or 0
    desk.store.spend("grant-1", cap - 5)
    assert (await desk.reopened().get(Task.LLM, cost=_flat(5))).grant.jti == "grant-1"
    assert (await desk.reopened().get(Task.LLM, cost=_flat(1))).grant.jti == "grant-2"


async def test_a_grant_is_held_with_the_prices_by_which_it_is_charged(desk: _Desk) -> None:
    """Those of its version, whatever the network's are by now; a restart forgets them as little as the grant."""
    old = await desk.store.get(Task.LLM)
    desk.change_prices()
    await desk.fetch()
    for store in (desk.store, desk.reopened()):
        assert (await store.get(Task.LLM)).prices == old.prices == DEFAULT_PRICES
    new = await desk.store.replace(Task.LLM, refused=old.grant.jti)
    assert (new.prices, (await desk.reopened().get(Task.LLM)).prices) == (dearer(10), dearer(10))


async def test_a_kept_grant_whose_prices_are_unknown_is_not_used(desk: _Desk) -> None:
    """It may be dearer than anybody thinks: another one is taken."""
    await desk.store.get(Task.LLM)
    (entry,) = json.loads(desk.path.read_text())
    other = {**entry, "prices": {**entry["prices"], "version": 2}}
    for number, content in enumerate(([entry["token"]], [{"token": entry["token"]}], [other])):
        desk.path.write_text(json.dumps(content))
        assert (await desk.reopened().get(Task.LLM)).grant.jti == f"grant-{number + 2}"


async def test_a_grant_by_newer_prices_has_the_client_ask_for_them(desk: _Desk) -> None:
    """And for a larger grant, if the job costs more by them; what is promised counts by them."""
    desk.change_prices()
    cost = JobCost(Task.LLM, output_units=200_000)  # 6 credits by the old prices, 60 by the new ones
    held = await desk.store.get(Task.LLM, cost=cost)
    assert [request.open_microcredits for request in desk.tracker.grants] == [10_000_000, 60_000_000]
    assert (held.prices, desk.store.holds(Task.LLM, cost=_flat(1))) == (dearer(10), False)
    desk.store.give_back(held, cost_microcredits=60_000_000)
    named = await desk.store.named(Task.LLM, Identity.from_seed(b"\x05" * 32).peer_id, cost=cost)
    assert named.prices == held.prices


async def test_a_tracker_that_does_not_tell_its_grants_prices(desk: _Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that learned of new ones a moment later than the next is asked again; then the call fails."""
    told = desk.keys.network_info()
    monkeypatch.setattr(desk, "fetch", lambda: _network_of(desk, told))
    desk.store = desk.reopened()
    desk.change_prices()
    with pytest.raises(TrackerError, match="another version of its prices"):
        await desk.store.get(Task.LLM)
    assert len(desk.tracker.grants) == 2


async def _network_of(desk: _Desk, info: NetworkInfo) -> Network:
    return verify_network(info, desk.keys.root.public_key, before=None)
