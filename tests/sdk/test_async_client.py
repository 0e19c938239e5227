import pytest
from gpunode.errors import (
    AnswerInterrupted,
    ClientClosed,
    InvalidRequest,
    NoNodeFound,
    TrackerUnreachable,
    VerificationFailed,
)
from gpunode_protocol.identity import Identity
from gpunode_protocol.receipt_checks import check_pair
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Envelope, sign
from gpunode_protocol.tracker_api import CallerPlace, NetworkInfo

from tests.sdk.world import HELLO, MODEL, Keys, World, regions_reply


async def test_an_answer_is_whole_and_verified(world: World) -> None:
    """Text, usage, receipt and route of a plain answer."""
    node = world.add_node()
    async with world.client(region="asia") as client:
        answer = await client.chat(messages=HELLO)
    assert answer.response == "Paris is the capital."
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 4)
    assert (answer.model, answer.finish_reason) == (MODEL, "stop")
    assert answer.receipt.verified
    assert (answer.route.node, answer.route.region, answer.route.path) == (node.peer_id, "asia", "direct")
    assert type(answer.route.region) is str
    assert answer.route.source == "dht"
    assert answer.route.rtt_ms is not None
    assert answer.duration_ms >= answer.ttft_ms >= 0
    assert answer.tokens_per_s == 3.0  # the scripted node states one second for all after the first


async def test_the_node_gets_the_final_voucher_even_if_the_client_closes_at_once(world: World) -> None:
    """Leaving the client waits until the last voucher is there; the tracker needs none then."""
    node = world.add_node()
    async with world.client() as client:
        answer = await client.chat(messages=HELLO)
    voucher = node.jobs[0].last_voucher
    assert voucher is not None
    check_pair(answer.receipt.receipt.envelope, voucher.envelope)
    assert world.tracker.settled == []


async def test_a_node_cut_before_the_first_token_is_replaced(world: World) -> None:
    """Another node answers, and the route says what happened."""
    broken = world.add_node(region=Region.ASIA, cut_after=0)
    good = world.add_node(region=Region.EUROPE)
    world.remove_probe(good.peer_id)  # so that the broken one is tried first
    async with world.client() as client:
        answer = await client.chat(messages=HELLO)
    assert answer.response == "Paris is the capital."
    assert answer.route.node == good.peer_id
    assert [attempt.node for attempt in answer.route.failed] == [broken.peer_id]
    assert type(answer.route.failed[0].region) is str
    assert good.jobs[0].request.body.segment == 1
    assert good.jobs[0].request.body.job == broken.jobs[0].request.body.job


async def test_an_answer_that_nobody_can_finish_is_an_error_and_is_paid(world: World) -> None:
    """A short answer is never taken for a whole one; what came is in the error, its voucher at the tracker."""
    node = world.add_node(cut_after=2)
    async with world.client() as client:
        with pytest.raises(AnswerInterrupted) as caught:
            await client.chat(messages=HELLO)
    assert caught.value.text == "Paris is"
    assert caught.value.ids == (0, 1)
    assert caught.value.route.node == node.peer_id
    (item,) = world.tracker.settled
    assert item.receipt is None
    assert node.jobs[0].receive_voucher(item.voucher) is not None
    assert node.jobs[0].vouched_count == 2


async def test_a_receipt_that_overstates_is_refused_and_reported(world: World) -> None:
    """Nothing more is paid, the node is reported and put last."""
    node = world.add_node(overstate=1)
    async with world.client() as client:
        with pytest.raises(VerificationFailed):
            await client.chat(messages=HELLO)
    (report,) = world.tracker.reports
    assert (report.node, report.kind, report.job) == (node.peer_id, "bad_usage", node.jobs[0].request.body.job)
    assert world.tracker.settled == []
    assert not node.jobs[0].is_settled


async def test_a_foreign_receipt_is_refused(world: World) -> None:
    """A receipt signed by another key does not verify."""
    node = world.add_node()
    node.sign_receipts_as = Identity.from_seed(b"\x77" * 32)
    async with world.client() as client:
        with pytest.raises(VerificationFailed, match="receipt"):
            await client.chat(messages=HELLO)
    assert [(report.node, report.kind) for report in world.tracker.reports] == [(node.peer_id, "bad_receipt")]


async def test_a_client_with_a_kept_grant_works_without_the_tracker(world: World) -> None:
    """Pinned network, grant and key are on disk; the node is found in the DHT."""
    world.add_node()
    async with world.client() as client:
        await client.chat(messages=HELLO)
    world.tracker.down = True
    async with world.client() as client:
        answer = await client.chat(messages=HELLO)
    assert answer.response == "Paris is the capital."
    assert answer.route.source == "dht"
    assert len(world.tracker.grants) == 1


async def test_without_the_tracker_a_kept_grant_lasts_until_it_expires(world: World) -> None:
    """A client that starts then is told that the tracker does not answer; no node is asked in vain."""
    node = world.add_node()
    async with world.client() as client:
        await client.chat(messages=HELLO)
    world.tracker.down = True
    world.now += 3_700
    async with world.client() as client:
        with pytest.raises(TrackerUnreachable):
            await client.chat(messages=HELLO)
    assert len(node.requests) == 1


async def test_without_dht_and_tracker_a_good_node_is_remembered(world: World) -> None:
    """The third source: the node that answered well before, although its advert has expired."""
    node = world.add_node()
    async with world.client() as client:
        await client.chat(messages=HELLO)
    world.tracker.down = True
    world.mesh.dht_is_down = True
    world.now += 1_000
    async with world.client() as client:
        answer = await client.chat(messages=HELLO)
    assert (answer.route.node, answer.route.source) == (node.peer_id, "cache")


async def test_another_network_at_the_same_address_is_refused(world: World) -> None:
    """The root key was pinned at first contact; another one gets no request."""
    node = world.add_node()
    async with world.client() as client:
        await client.chat(messages=HELLO)
    impostor = Keys(root=Identity.from_seed(b"\x66" * 32))
    world.tracker.info = impostor.network_info()
    async with world.client() as client:
        with pytest.raises(Exception, match="pinned at first contact"):
            await client.chat(messages=HELLO)
    assert len(node.requests) == 1


async def test_a_revoked_node_is_not_asked(world: World) -> None:
    """The revocation list of the network info counts."""
    node = world.add_node()
    serial = world.certificate_serial(node)
    world.tracker.info = world.keys.network_info(revocations=world.keys.revocations(serial, sequence=2).envelope)
    async with world.client() as client:
        with pytest.raises(NoNodeFound, match="certificate"):
            await client.chat(messages=HELLO)
    assert node.requests == []


async def test_nobody_serves_it(world: World) -> None:
    """The error counts why nodes do not qualify, and names what they serve."""
    world.add_node(model="llama-3")
    async with world.client() as client:
        with pytest.raises(NoNodeFound, match="1 x serves llama-3"):
            await client.chat(messages=HELLO, model="qwen2.5-7b")


async def test_a_shorter_name_means_the_only_model_that_it_begins(world: World) -> None:
    """``qwen2.5-7b`` is asked for as the name that nodes advertise."""
    node = world.add_node(model="qwen2.5-7b-instruct")
    async with world.client() as client:
        answer = await client.chat(messages=HELLO, model="qwen2.5-7b")
    assert answer.model == "qwen2.5-7b-instruct"
    assert node.jobs[0].request.body.model == "qwen2.5-7b-instruct"


async def test_a_job_stays_in_the_region_that_it_names(world: World) -> None:
    """Nodes elsewhere are no candidates, however near."""
    world.add_node(region=Region.ASIA)
    african = world.add_node(region=Region.AFRICA, where="both")
    async with world.client(region="asia") as client:
        answer = await client.chat(messages=HELLO, region="africa")
    assert answer.route.node == african.peer_id


async def test_arguments_are_checked_before_anything_is_sent(world: World) -> None:
    """No message, no token, no such region: the error names it."""
    async with world.client() as client:
        with pytest.raises(InvalidRequest, match="messages"):
            await client.chat(messages=[])
        with pytest.raises(InvalidRequest, match="max_tokens"):
            await client.chat(messages=HELLO, max_tokens=0)
        with pytest.raises(InvalidRequest, match="oceania"):
            await client.chat(messages=HELLO, region="atlantis")
    assert world.tracker.grants == []


async def test_nodes_are_listed_with_what_the_probe_says(world: World) -> None:
    """Listing needs no API key and shows both sources."""
    world.add_node(active=2, queued=1)
    world.add_node(region=Region.EUROPE, where="index")
    world.tracker.api_key = None
    async with world.client() as client:
        found = {node.source: node for node in await client.nodes()}
        assert all(type(node.region) is str for node in found.values())
    assert set(found) == {"dht", "index"}
    assert (found["dht"].active, found["dht"].queued, found["dht"].slots) == (2, 1, 4)
    assert found["dht"].tokens_per_s == 50.0
    assert found["index"].region == "europe"


async def test_regions_are_told_without_the_mesh_and_remembered(world: World) -> None:
    """Who is where, and where the client is; the next run begins its search there."""
    world.tracker.places = regions_reply(CallerPlace(region=Region.EUROPE, country="FR"), asia=2)
    async with world.client() as client:
        told = await client.regions()
    assert (told.home, told.home_from) == ("europe", "geoip")
    assert [(item.region, item.nodes) for item in told.regions if item.nodes] == [("asia", 2)]
    world.add_node()
    async with world.client() as client:
        await client.chat(messages=HELLO)
    assert "/europe/" in world.mesh.looked_up[0]
    assert world.tracker.asked_regions == 1


async def test_a_closed_client_says_so(world: World) -> None:
    """Closing twice is fine, chatting afterwards is not."""
    client = world.client()
    await client.close()
    await client.close()
    with pytest.raises(ClientClosed):
        await client.chat(messages=HELLO)


async def test_a_key_set_that_is_not_the_roots_is_refused(world: World) -> None:
    """At first contact, everything must verify against the root key that is going to be pinned."""
    forged = sign(Identity.from_seed(b"\x55" * 32), world.keys.keyset.body).envelope
    world.tracker.info = world.keys.network_info(keyset=forged)
    async with world.client() as client:
        with pytest.raises(Exception, match="does not verify"):
            await client.connect()
    assert isinstance(world.tracker.info, NetworkInfo)
    assert isinstance(forged, Envelope)
    assert not list(world.folder.rglob("pin.json"))
