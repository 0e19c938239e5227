"""What jobs cost that nodes leave half done. The last tests are whole jobs."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest
from gpunode._answer import Answer
from gpunode._grants import HeldGrant
from gpunode._job_budget import JobBudget
from gpunode._job_cost import JobCost
from gpunode._job_grants import JobGrants
from gpunode._job_requests import Job, Order
from gpunode.errors import AnswerInterrupted, InsufficientCredits
from gpunode.routing import Limits
from gpunode_protocol.grants import Grant
from gpunode_protocol.payloads import ChatMessage, LlmParams, input_tokens_bound
from gpunode_protocol.prices import DEFAULT_PRICES, MICROCREDITS_PER_CREDIT
from gpunode_protocol.receipt_checks import open_voucher
from gpunode_protocol.regions import Region
from gpunode_protocol.requests import Resume
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import GrantRequest
from gpunode_protocol.vouchers import Voucher

from tests.node.virtual_time import virtual_time
from tests.sdk.scripted_node import PROMPT_TOKENS
from tests.sdk.world import HELLO, MODEL, World

PARAMS = LlmParams(messages=(ChatMessage(role="user", content="hi"),), max_tokens=100)
JOB = Job(
    id="x", task=Task.LLM, params=PARAMS, cost=JobCost.of(Task.LLM, PARAMS), ends_at=0.0, deadline_at=0, salt=bytes(32)
)
RESUME = Resume(ids=(1,) * 40, text_offset=0, prompt_digest=bytes(32))
CHOICE = cast("Any", SimpleNamespace(node="n", model=MODEL))
IN, OUT = 10, 30


def _budget(limit: int | None) -> JobBudget:
    job = replace(JOB, cost=replace(JOB.cost, limit_microcredits=limit))
    grant = Grant.model_construct(jti="grant-1")
    return JobBudget(job, JobGrants(cast("Any", None), job, HeldGrant("", grant, DEFAULT_PRICES)))


def _voucher(count: int) -> Voucher:
    fields: dict[str, Any] = {"jti": "grant-1", "task": Task.LLM, "model": MODEL, "count": count, "input_count": 0}
    return Voucher.model_construct(**fields)


def test_what_the_rest_may_cost() -> None:
    """The prompt by its bound, until a node has counted it; ids that are replayed are read like it."""
    budget = _budget(None)
    assert budget.rest().at(DEFAULT_PRICES) == IN * input_tokens_bound(PARAMS) + OUT * 100
    budget.plan(Order(PARAMS), None)
    assert budget.rest(MODEL).at(DEFAULT_PRICES) == IN * input_tokens_bound(PARAMS) + OUT * 100
    budget.plan(Order(PARAMS.model_copy(update={"max_tokens": 60}), resume=RESUME), 7)
    assert budget.rest(MODEL).at(DEFAULT_PRICES) == IN * (7 + 40) + OUT * 60


def test_all_parts_together_stay_within_the_limit() -> None:
    """To the last micro-credit; without a limit everything may be spent."""
    spent, rest = OUT * 40, IN * 7 + OUT * 100
    for limit, may in ((None, True), (spent + rest, True), (spent + rest - 1, False)):
        budget = _budget(limit)
        budget.spend(_voucher(40))
        budget.plan(Order(PARAMS), 7)
        assert budget.allows(CHOICE) is may
    assert budget.problem(CHOICE) == (
        "Of the limit of 0.004269 credits, 0.0012 are spent, and the rest may cost 0.00307: nobody was asked for it."
    )


def test_a_node_is_covered_by_what_was_promised_for_the_job() -> None:
    """One of another model is not, if that is dearer."""
    budget = _budget(None)
    assert budget.covers(CHOICE)
    budget.plan(Order(PARAMS), input_tokens_bound(PARAMS) + 1)
    assert not budget.covers(CHOICE)


def _price_limit(microcredits: int) -> Limits:
    return Limits(max_price_credits=microcredits / MICROCREDITS_PER_CREDIT)


def _spent(world: World, *finals: Voucher) -> int:
    vouchers = [open_voucher(item.voucher).body for item in world.tracker.settled]
    return sum(IN * voucher.input_count + OUT * voucher.count for voucher in [*vouchers, *finals])


@virtual_time
async def test_an_answer_begun_anew_costs_no_more_than_the_limit(world: World) -> None:
    """What was said twice is paid twice, where the limit lets it; else the caller gets what came, and why."""
    words = [f" {number}" for number in range(400)]
    options: Any = {"max_tokens": 400, "logprobs": 0}
    whole = IN * PROMPT_TOKENS + OUT * 400
    for limit, is_enough in ((whole + OUT * 350, True), (whole + OUT * 350 - 1, False)):
        world.tracker.settled.clear()
        first = world.add_node(words=words, cut_after=350)
        second = world.add_node(region=Region.EUROPE, words=words)
        second.queued = 4
        limits = replace(_price_limit(limit), allow_nodes=frozenset({first.peer_id, second.peer_id}))
        async with world.client() as client:
            if is_enough:
                answer = await client.chat(messages=HELLO, limits=limits, **options)
                assert _spent(world, answer.receipt.voucher.body) == limit
                continue
            with pytest.raises(AnswerInterrupted, match=r"0\.0105 are spent, and the rest may cost") as caught:
                await client.chat(messages=HELLO, limits=limits, **options)
            assert (len(caught.value.ids), second.requests, _spent(world)) == (350, [], OUT * 350)


@virtual_time
async def test_a_node_that_counts_a_longer_prompt_than_the_first_is_left(world: World) -> None:
    """Its weights are the same, so the rest would cost more than it may."""
    world.add_node(cut_after=2)
    greedy = world.add_node(region=Region.EUROPE, quote=PROMPT_TOKENS + 1)
    honest = world.add_node(region=Region.EUROPE)
    greedy.queued, honest.queued = 4, 8
    async with world.client() as client:
        answer = await client.chat(messages=HELLO)
    assert answer.route.node == honest.peer_id
    assert [attempt.reason for attempt in answer.route.failed if attempt.node == greedy.peer_id] == [
        "The node counts more prompt tokens than the one before. (resume_refused)"
    ]


@pytest.mark.parametrize("has_credits", [True, False])
@virtual_time
async def test_a_grant_that_does_not_cover_the_rest_is_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch, has_credits: bool
) -> None:
    """The next node would not be paid out of it. Where there are no credits either, the caller is told so."""
    words = [f" {number}" for number in range(400)]
    world.add_node(words=words, cut_after=350)
    world.add_node(region=Region.EUROPE, words=words).queued = 4
    issue = world.tracker.grant

    async def no_more(_request: GrantRequest) -> NoReturn:
        raise InsufficientCredits("The account has too few credits.")

    async def once(request: GrantRequest) -> Any:
        if not has_credits:
            monkeypatch.setattr(world.tracker, "grant", no_more)
            world.tracker.spendable_microcredits = 0
        return await issue(request)

    monkeypatch.setattr(world.tracker, "grant", once)
    async with world.client(grant_microcredits=1) as client:
        call = client.chat(messages=HELLO, max_tokens=400, logprobs=0)
        if not has_credits:
            with pytest.raises(AnswerInterrupted, match=r"too few credits"):
                await call
            return
        answer = await call
    (closing,) = [open_voucher(item.voucher).body for item in world.tracker.settled]
    assert (closing.jti, answer.receipt.voucher.body.jti) == ("grant-1", "grant-2")


def test_an_answer_without_a_beginning_has_no_count() -> None:
    """Another node may have other weights."""
    assert Answer(JOB).prompt_tokens is None
