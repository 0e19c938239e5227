"""Settling over HTTP: once, whoever sends it and however often; never more than was reserved."""

import asyncio
from collections.abc import Callable

import pytest
from gpunode_protocol import tracker_api as api
from gpunode_protocol.identity import Identity
from gpunode_protocol.prices import DEFAULT_PRICES
from gpunode_protocol.signing import Envelope
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import SettlementItem
from gpunode_tracker.app import create_app
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.tracker import Tracker

from tests.tracker.conftest import World
from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import Job, TestClock, job_id

pytestmark = ON_BOTH

PRICE = DEFAULT_PRICES.tasks[Task.LLM]
OUTPUT, INPUT = PRICE.output_microcredits, PRICE.input_microcredits


async def test_a_receipt_pays_the_node(world: World) -> None:
    """Final voucher and receipt move the price of input and output from the reservation to the node."""
    deal = await world.job()
    (result,) = await world.settle(deal.job.item(100, 20))
    cost = 100 * OUTPUT + 20 * INPUT
    assert (result.status, result.paid_microcredits) == ("settled", cost)
    assert (await world.balance(token=deal.token)).spendable_microcredits == cost
    payer = await world.balance(key=deal.key)
    assert payer.reserved_microcredits == 1_000_000 - cost
    assert payer.spendable_microcredits == 100_000_000 - 1_000_000


async def test_the_same_receipt_five_times_settles_once(world: World) -> None:
    """Four of five are duplicates that name the same entry, in one batch or in several."""
    deal = await world.job()
    item = deal.job.item(10)
    results = await world.settle(item, item, item) + await world.settle(item) + await world.settle(item)
    assert [result.status for result in results] == ["settled", *["duplicate"] * 4]
    assert len({result.entry for result in results}) == 1
    assert (await world.balance(token=deal.token)).spendable_microcredits == 10 * OUTPUT
    assert await world.evidence() == []


async def test_a_differing_receipt_is_equivocation(world: World) -> None:
    """A second final voucher that promises no more is kept once as evidence, and pays nothing."""
    deal = await world.job()
    await world.settle(deal.job.item(10))
    other = deal.job.item(9)
    results = await world.settle(other, other)
    assert [(result.status, result.paid_microcredits) for result in results] == [("equivocation", 0)] * 2
    assert (await world.balance(token=deal.token)).spendable_microcredits == 10 * OUTPUT
    assert len(await world.evidence()) == 1


async def test_a_contradiction_that_promises_more_pays_the_difference_once(world: World) -> None:
    """Two final vouchers in turns pay the dearer one, once; the newest receipt can be proven, the other is evidence."""
    deal = await world.job()
    (_, old), (voucher, receipt) = deal.job.finished(10), deal.job.finished(12)
    dearer = SettlementItem(voucher=voucher.envelope, receipt=receipt.envelope)
    results = await world.settle(deal.job.item(10), dearer, deal.job.item(10), dearer)
    assert [result.status for result in results] == ["settled", "equivocation", "equivocation", "duplicate"]
    assert [result.paid_microcredits for result in results] == [10 * OUTPUT, 2 * OUTPUT, 0, 0]
    assert len(await world.evidence()) == 1
    await world.tracker.sequence()
    for proven, status in ((receipt, 200), (old, 404)):
        path = api.RECEIPT_PATH.format(receipt=proven.digest.hex())
        assert (await world.get(path, key=deal.key)).status == status


async def test_a_receipt_never_stands_beside_another_voucher(world: World) -> None:
    """A contradicting final voucher that comes without a receipt takes the earlier one's receipt away."""
    deal = await world.job()
    voucher, receipt = deal.job.finished(12)
    await world.settle(deal.job.item(10), SettlementItem(voucher=voucher.envelope))
    assert (await world.get(api.RECEIPT_PATH.format(receipt=receipt.digest.hex()), key=deal.key)).status == 404


async def test_vouchers_are_cumulative(world: World) -> None:
    """Later vouchers pay the difference; lower ones that come late are covered; the final one adds the input."""
    deal = await world.job()
    job = deal.job
    results = await world.settle(job.partial(64), job.partial(192), job.partial(128), job.item(200, 7))
    assert [result.status for result in results] == ["settled", "settled", "duplicate", "settled"]
    assert [result.paid_microcredits for result in results] == [
        64 * OUTPUT,
        128 * OUTPUT,
        0,
        8 * OUTPUT + 7 * INPUT,
    ]
    (late,) = await world.settle(job.partial(64))
    assert late.status == "duplicate"


async def test_a_voucher_alone_pays(world: World) -> None:
    """A node that was killed, or a client that left, costs the other side no more than the last window."""
    deal = await world.job()
    (result,) = await world.settle(deal.job.partial(64))
    assert (result.status, result.paid_microcredits) == ("settled", 64 * OUTPUT)


async def test_a_final_voucher_may_come_before_its_receipt(world: World) -> None:
    """The client sends the voucher, the node the pair: paid once, and the receipt can be proven afterwards."""
    deal = await world.job()
    voucher, receipt = deal.job.finished(10)
    first = await world.settle(SettlementItem(voucher=voucher.envelope))
    path = api.RECEIPT_PATH.format(receipt=receipt.digest.hex())
    assert (await world.get(path, key=deal.key)).status == 404
    second = await world.settle(SettlementItem(voucher=voucher.envelope, receipt=receipt.envelope))
    assert [first[0].status, second[0].status] == ["settled", "duplicate"]
    assert (await world.get(path, key=deal.key)).status == 200


async def test_fifty_nodes_get_what_was_reserved(world: World) -> None:
    """An open grant that was spent at 50 nodes pays in order of arrival, exactly the reservation in all."""
    deal = await world.job(open_microcredits=20 * 100 * OUTPUT + 5 * OUTPUT)
    items = []
    for number in range(50):
        node = Identity.generate()
        await world.register(node)
        job = Job(world.network, deal.job.client, node, deal.grant.jti, job=job_id(number))
        items.append(job.item(100))
    batches = [items[start : start + 10] for start in range(0, 50, 10)]
    results = [
        result for batch in await asyncio.gather(*(world.settle(*batch) for batch in batches)) for result in batch
    ]
    paid = [result.paid_microcredits for result in results]
    assert sum(paid) == deal.grant.reserved_microcredits
    assert sorted(paid)[-20:] == [100 * OUTPUT] * 20
    assert sum(result.status == "rejected" for result in results) == 29
    assert (await world.balance(key=deal.key)).reserved_microcredits == 0


async def test_no_node_beyond_its_cap(world: World) -> None:
    """A grant for named nodes pays each at most its own cap, and a node that it does not name nothing."""
    account, key = await world.account()
    client, named, other = Identity.generate(), Identity.generate(), Identity.generate()
    for node in (named, other):
        await world.register(node)
    grant = await world.grant(key, client, nodes={named.peer_id: 50 * OUTPUT, Identity.generate().peer_id: 10**6})
    jobs = [Job(world.network, client, named, grant.jti, job=job_id(number)) for number in range(2)]
    results = await world.settle(jobs[0].item(40), jobs[1].item(40))
    assert [result.paid_microcredits for result in results] == [40 * OUTPUT, 10 * OUTPUT]
    assert "did not cover" in results[1].reason
    (refused,) = await world.settle(Job(world.network, client, other, grant.jti, job=job_id(9)).item(1))
    assert (refused.status, refused.reason) == ("rejected", "the grant does not name this node")
    assert account


async def test_foreign_signatures_pay_nothing(world: World) -> None:
    """A voucher that somebody else signed, and a receipt by another node, are rejected."""
    deal = await world.job()
    voucher, receipt = deal.job.finished(10)
    forger = Identity.generate()
    forged = Job(world.network, forger, deal.job.node, deal.grant.jti).voucher(10)
    stolen = Envelope(body=voucher.envelope.body, signature=forged.envelope.signature)
    impostor = Job(world.network, deal.job.client, Identity.generate(), deal.grant.jti)
    wrong_receipt = impostor.finished(10)[1]
    results = await world.settle(
        SettlementItem(voucher=stolen),
        SettlementItem(voucher=forged.envelope),
        SettlementItem(voucher=voucher.envelope, receipt=wrong_receipt.envelope),
        SettlementItem(voucher=voucher.envelope, receipt=Envelope(body=receipt.envelope.body, signature=bytes(64))),
    )
    assert [result.status for result in results] == ["rejected"] * 4
    assert results[1].reason == "the grant belongs to another client"
    assert (await world.balance(token=deal.token)).spendable_microcredits == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"jti": "unknown"}, "no such grant"),
        ({"network": "0" * 40}, "another network"),
        ({"task": Task.EMBEDDING}, "does not cover the task embedding"),
        ({"node": Identity.generate()}, "not registered"),
    ],
)
async def test_what_the_grant_does_not_cover(world: World, changes: dict[str, object], reason: str) -> None:
    """Unknown grants, foreign networks, other tasks and unknown nodes are rejected with the reason."""
    deal = await world.job()
    (result,) = await world.settle(Job(**(vars(deal.job) | changes)).partial(5))
    assert result.status == "rejected"
    assert reason in result.reason


async def test_a_revoked_grant_pays_for_two_hours_more(world: World, clock: TestClock) -> None:
    """What was done before the revocation reached the node is paid; after two hours the rest has gone back."""
    from gpunode_tracker.upkeep import return_expired

    deal = await world.job()
    await world.admin.revoke_grant(deal.grant.jti)
    assert (await world.settle(deal.job.partial(5)))[0].status == "settled"
    clock.advance(2 * 3600 + 1)
    assert await return_expired(world.tracker) == 1
    (late,) = await world.settle(deal.job.partial(9))
    assert (late.status, "went back" in late.reason) == ("rejected", True)


async def test_own_jobs_cost_nothing(world: World) -> None:
    """Jobs between an account and its own node are recorded, and move no credits."""
    deal = await world.job()
    assert (await world.link(deal.job.node, deal.key)).status == 200
    (result,) = await world.settle(deal.job.item(10))
    assert (result.status, result.paid_microcredits) == ("settled", 0)
    assert (await world.balance(key=deal.key)).reserved_microcredits == 1_000_000


async def test_promotional_credits_pay_nobody(world: World) -> None:
    """They leave the reservation, and the node can spend nothing."""
    _, key = await world.account(promotional=True)
    client, node = Identity.generate(), Identity.generate()
    token = (await world.register(node)).token
    grant = await world.grant(key, client, open_microcredits=1_000)
    (result,) = await world.settle(Job(world.network, client, node, grant.jti).item(10))
    assert (result.status, result.paid_microcredits) == ("settled", 10 * OUTPUT)
    assert (await world.balance(token=token)).spendable_microcredits == 0
    assert (await world.balance(key=key)).reserved_microcredits == 1_000 - 10 * OUTPUT


async def test_an_accomplice_cannot_void_a_nodes_work(world: World) -> None:
    """Overlapping ranges at two nodes: both are paid, and the client's contradiction is kept."""
    deal = await world.job()
    other = Identity.generate()
    await world.register(other)
    clash = Job(world.network, deal.job.client, other, deal.grant.jti, segment=1, start=0)
    results = await world.settle(deal.job.item(10), clash.item(10))
    assert [result.paid_microcredits for result in results] == [10 * OUTPUT] * 2
    assert await world.evidence() == ["its output from 0 on overlaps what segment 0 was settled for"]


async def test_another_segment_at_the_same_node_voids_nothing(world: World) -> None:
    """A client that has a voucher settled which its node never saw still pays the node's own, and leaves evidence."""
    deal = await world.job()
    unseen = Job(**(vars(deal.job) | {"segment": 63}))
    results = await world.settle(unseen.partial(1), deal.job.item(100))
    assert [result.paid_microcredits for result in results] == [OUTPUT, 100 * OUTPUT]
    assert await world.evidence() == ["its output from 0 on overlaps what segment 63 was settled for"]


VOIDS: list[Callable[[Job], SettlementItem]] = [
    lambda job: SettlementItem(voucher=job.finished(0)[0].envelope),  # final, for a receipt that nobody signed
    lambda job: job.partial(1, start=7),
    lambda job: job.partial(1, model="other-model"),
    lambda job: job.partial(101),
]


@pytest.mark.parametrize("void", VOIDS, ids=["final", "start", "model", "count"])
async def test_a_client_cannot_void_its_own_vouchers(world: World, void: Callable[[Job], SettlementItem]) -> None:
    """Whatever a client has settled first, the node gets what the client signed for it; the contradiction is kept."""
    deal = await world.job()
    await world.settle(void(deal.job))
    (result,) = await world.settle(deal.job.item(100, 20))
    assert result.status == "equivocation"
    assert (await world.balance(token=deal.token)).spendable_microcredits >= 100 * OUTPUT + 20 * INPUT
    assert len(await world.evidence()) == 1


async def test_a_job_under_two_grants_is_paid_from_each(world: World) -> None:
    """A node remembers a job for its grant's life only, so the same segment under another grant is paid as well."""
    deal = await world.job()
    second = await world.grant(deal.key, deal.job.client, open_microcredits=1_000_000)
    again = Job(**(vars(deal.job) | {"jti": second.jti}))
    results = await world.settle(deal.job.item(10), again.item(100))
    assert [result.paid_microcredits for result in results] == [10 * OUTPUT, 100 * OUTPUT]
    assert len(await world.evidence()) == 1


async def test_resumed_segments_are_paid_beside_each_other(world: World) -> None:
    """Disjoint ranges of one job at two nodes pay both, without evidence."""
    deal = await world.job()
    other = Identity.generate()
    await world.register(other)
    rest = Job(world.network, deal.job.client, other, deal.grant.jti, segment=1, start=64)
    results = await world.settle(rest.item(36, 9), deal.job.partial(64))
    assert [result.paid_microcredits for result in results] == [36 * OUTPUT + 9 * INPUT, 64 * OUTPUT]
    assert await world.evidence() == []


async def test_concurrent_submitters_settle_once(world: World) -> None:
    """Client and node send the same pair at the same time."""
    deal = await world.job()
    item = deal.job.item(10)
    answers = await asyncio.gather(*(world.settle(item) for _ in range(8)))
    assert sorted(answer[0].status for answer in answers) == ["duplicate"] * 7 + ["settled"]


async def test_settlements_survive_a_restart(settings: TrackerSettings, clock: TestClock) -> None:
    """A receipt that was settled before the restart is a duplicate after it."""
    from aiohttp.test_utils import TestClient, TestServer
    from gpunode_tracker.administration import Administration

    statuses, item, token = [], None, ""
    for _ in range(2):
        tracker = await Tracker.open(settings, clock)
        async with TestClient(TestServer(create_app(tracker))) as http:
            admin = Administration(settings, tracker.database, tracker.keys, clock)
            world = World(tracker, http, admin)
            if item is None:
                deal = await world.job()
                item, token = deal.job.item(10), deal.token
            statuses.append((await world.settle(item))[0].status)
            assert (await world.balance(token=token)).spendable_microcredits == 10 * OUTPUT
    assert statuses == ["settled", "duplicate"]
