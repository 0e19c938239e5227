"""What jobs cost while prices change. The last tests are whole jobs."""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from gpunode import AsyncInferenceClient
from gpunode._job_cost import NOTHING, JobCost, cost_microcredits
from gpunode.errors import AnswerInterrupted, NoNodeFound
from gpunode.routing import Limits
from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.messages import JOB_PROTOCOL
from gpunode_protocol.payloads import ChatMessage, LlmParams, input_tokens_bound
from gpunode_protocol.prices import DEFAULT_PRICES, MICROCREDITS_PER_CREDIT, Price
from gpunode_protocol.receipt_checks import open_voucher
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from tests.node.virtual_time import virtual_time
from tests.sdk.memory_mesh import MemoryStream
from tests.sdk.scripted_node import PROMPT_TOKENS, ScriptedNode
from tests.sdk.world import HELLO, MODEL, World, dearer

PARAMS = LlmParams(messages=(ChatMessage(role="user", content="hi"),), max_tokens=100)
WORST = 10 * input_tokens_bound(PARAMS) + 30 * 100
SHORT = JobCost.of(Task.LLM, LlmParams(messages=(ChatMessage(**HELLO[0]),), max_tokens=8))


def test_the_worst_case_is_counted() -> None:
    """So that a grant never falls short; a task without a price costs nothing."""
    cost = JobCost.of(Task.LLM, PARAMS)
    assert (cost.at(DEFAULT_PRICES), cost.at(dearer(10))) == (WORST, 10 * WORST)
    unpriced = DEFAULT_PRICES.model_copy(update={"tasks": {}})
    assert (cost.at(unpriced), cost_microcredits(unpriced, Task.LLM, MODEL, 10, 10)) == (0, 0)
    assert cost_microcredits(DEFAULT_PRICES, Task.LLM, MODEL, 10, 10) == 400
    assert (NOTHING.at(DEFAULT_PRICES), NOTHING.problem(DEFAULT_PRICES)) == (0, "")


def test_of_several_models_the_dearest_counts_that_the_limit_allows() -> None:
    """The others are not asked; where it allows none, it says what the cheapest would cost."""
    dear = Price(input_microcredits=100, output_microcredits=300)
    prices = DEFAULT_PRICES.model_copy(update={"models": {"dear": dear}})
    models = ("dear", "plain")
    assert JobCost.of(Task.LLM, PARAMS, models).at(prices) == 10 * WORST
    limited = JobCost.of(Task.LLM, PARAMS, models, limit=10 * WORST - 1)
    assert (limited.at(prices), limited.problem(prices)) == (WORST, "")
    poor = JobCost(Task.LLM, frozenset(models), 0, 100, limit_microcredits=2_999)
    assert poor.at(prices) == 3_000
    assert poor.problem(prices) == "The job may cost 0.003 credits by the prices of its grant, the limit is 0.002999."


def _limits(microcredits: int) -> Limits:
    return Limits(max_price_credits=microcredits / MICROCREDITS_PER_CREDIT)


def _change_prices(world: World, factor: float, version: int = 2) -> None:
    world.tracker.info = world.keys.network_info(prices=dearer(factor, version=version))


async def _learn_prices(client: AsyncInferenceClient, version: int = 2) -> None:
    """Let the client ask the tracker, as it does every five minutes."""
    assert (await client._session._keeper.fetch()).info.prices.version == version


def _when_asked(world: World, node: ScriptedNode, then: Callable[[], Awaitable[None]]) -> None:
    """Let something happen while a node has a request in hand."""
    serve = world.mesh.handlers[node.peer_id, JOB_PROTOCOL]

    async def serve_after(stream: MemoryStream) -> None:
        await then()
        await serve(stream)

    world.mesh.handlers[node.peer_id, JOB_PROTOCOL] = serve_after


def _long_answer(world: World) -> tuple[ScriptedNode, ScriptedNode]:
    """Return a node that breaks off after 350 of 400 tokens, and one that can finish the answer."""
    words = [f" {number}" for number in range(400)]
    first = world.add_node(words=words, cut_after=350)
    second = world.add_node(region=Region.EUROPE, words=words)
    second.queued = 4
    return first, second


LONG: Any = {"max_tokens": 400, "logprobs": 0}
"""Said again from the beginning where it is cut."""
ANEW = 10 * PROMPT_TOKENS + 30 * 400


@virtual_time
@pytest.mark.parametrize("factor", [10, 0.1])
async def test_new_prices_are_not_for_jobs_under_way(world: World, factor: float) -> None:
    """All of an answer that goes on under the same grant costs what it did before, to the last micro-credit."""
    for limit, is_enough in ((ANEW + 30 * 350, True), (ANEW + 30 * 350 - 1, False)):
        world.tracker.info = None
        first, second = _long_answer(world)
        limits = replace(_limits(limit), allow_nodes=frozenset({first.peer_id, second.peer_id}))
        async with world.client(state_dir=world.folder / str(limit)) as client:

            async def rise(client: AsyncInferenceClient = client) -> None:
                _change_prices(world, factor)
                await _learn_prices(client)

            _when_asked(world, first, rise)
            if is_enough:
                answer = await client.chat(messages=HELLO, limits=limits, **LONG)
                assert (answer.route.node, len(answer.route.segments)) == (second.peer_id, 2)
                continue
            spent = r"0\.0105 are spent, and the rest may cost 0\.01"
            with pytest.raises(AnswerInterrupted, match=spent):
                await client.chat(messages=HELLO, limits=limits, **LONG)


@virtual_time
async def test_each_part_of_an_answer_costs_what_its_own_grant_says(world: World) -> None:
    """The first grant does not cover the rest; the next one is by new prices, and large enough for them."""
    first, _ = _long_answer(world)

    async def rise() -> None:
        _change_prices(world, 10)

    _when_asked(world, first, rise)
    async with world.client(grant_microcredits=1) as client:
        answer = await client.chat(messages=HELLO, **LONG)
    (closing,) = [open_voucher(item.voucher).body for item in world.tracker.settled]
    assert (closing.jti, answer.receipt.voucher.body.jti) == ("grant-1", "grant-3")
    sizes = [request.open_microcredits for request in world.tracker.grants]
    assert sizes[1:] == [ANEW, 10 * ANEW]


@virtual_time
@pytest.mark.parametrize("limit", [30 * 350 + 10 * ANEW, 30 * 350 + 10 * ANEW - 1])
async def test_a_rest_that_new_prices_make_too_dear_is_not_asked_for(world: World, limit: int) -> None:
    """The caller hears what was spent by the old ones, and what the rest may cost by the new ones."""
    first, second = _long_answer(world)

    async def rise() -> None:
        _change_prices(world, 10)

    _when_asked(world, first, rise)
    async with world.client(grant_microcredits=1) as client:
        call = client.chat(messages=HELLO, limits=_limits(limit), **LONG)
        if limit == 30 * 350 + 10 * ANEW:
            assert (await call).route.node == second.peer_id
            return
        with pytest.raises(AnswerInterrupted, match=r"0\.0105 are spent, and the rest may cost 0\.12") as caught:
            await call
    assert (len(caught.value.ids), second.requests) == (350, [])


@virtual_time
async def test_cheaper_prices_let_no_kept_grant_be_overspent(world: World) -> None:
    """It is still charged by the old ones."""
    for _ in range(3):
        world.add_node()
    cost, reserved = 10 * PROMPT_TOKENS + 30 * 4, 2 * SHORT.at(DEFAULT_PRICES)
    signed = Counter[str]()
    async with world.client(grant_microcredits=reserved) as client:
        for _ in range(reserved // cost + 5):
            answer = await client.chat(messages=HELLO, max_tokens=8)
            signed[answer.receipt.voucher.body.jti] += cost
            if world.tracker.info is None:
                _change_prices(world, 0.1)
                await _learn_prices(client)
    assert signed["grant-1"] <= reserved
    assert len(signed) == 2


@virtual_time
async def test_a_kept_grant_by_which_a_job_is_too_dear_is_replaced(world: World) -> None:
    """The limit was held against the new prices, which are lower."""
    world.add_node()
    async with world.client() as client:
        assert (await client.chat(messages=HELLO, max_tokens=8)).receipt.voucher.body.jti == "grant-1"
        _change_prices(world, 0.1)
        await _learn_prices(client)
        for limits, jti in ((None, "grant-1"), (_limits(SHORT.at(dearer(0.1))), "grant-2")):
            answer = await client.chat(messages=HELLO, max_tokens=8, limits=limits)
            assert answer.receipt.voucher.body.jti == jti


@virtual_time
@pytest.mark.parametrize("has_grant", [True, False])
async def test_prices_that_rose_since_nodes_were_chosen(world: World, has_grant: bool) -> None:
    """A grant by the old ones serves; where only a dearer one is to be had, no node is asked."""
    node = world.add_node()
    limits = _limits(SHORT.at(DEFAULT_PRICES))
    async with world.client() as client:
        await client.connect()
        if has_grant:
            await client.chat(messages=HELLO, max_tokens=8)
        _change_prices(world, 10)
        if has_grant:
            answer = await client.chat(messages=HELLO, max_tokens=8, limits=limits)
            assert answer.receipt.voucher.body.jti == "grant-1"
            return
        with pytest.raises(NoNodeFound, match=r"may cost 0\.\d+ credits by the prices of its grant, the limit is"):
            await client.chat(messages=HELLO, max_tokens=8, limits=limits)
    assert node.requests == []


@virtual_time
async def test_a_refused_grant_is_not_replaced_by_one_that_is_too_dear(world: World) -> None:
    """Before an answer begins the call fails, and says why."""
    node = world.add_node(refuse=[job_error(ErrorCode.GRANT_EXHAUSTED, "used up")])
    limits = _limits(SHORT.at(DEFAULT_PRICES))

    async def rise() -> None:
        _change_prices(world, 10)

    _when_asked(world, node, rise)
    async with world.client() as client:
        with pytest.raises(NoNodeFound, match="by the prices of its grant"):
            await client.chat(messages=HELLO, max_tokens=8, limits=limits)
    assert len(node.requests) == 1
