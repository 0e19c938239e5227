from pathlib import Path

import pytest
from gpunode._cost import TYPICAL_SIZE, JobSize
from gpunode._home import HomeKeeper
from gpunode._own_nodes import OwnNodes
from gpunode._placing import Demand, Placer
from gpunode._selection import Candidate
from gpunode.errors import InvalidRequest
from gpunode.routing import NO_LIMITS, Limits
from gpunode_protocol.doubts import PLACE_DOUBTFUL
from gpunode_protocol.identity import Identity
from gpunode_protocol.payloads import ChatMessage, LlmParams, input_tokens_bound
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from tests.sdk.world import EPOCH, MODEL, FakeTracker, Keys

PARAMS = LlmParams(messages=(ChatMessage(role="user", content="hi"),), max_tokens=100)
CANDIDATE = Candidate(Keys().advert(Identity.from_seed(b"\x03" * 32)), "dht")
INFO = Keys().network_info()
NO_DEFAULTS = Keys().network_info(default_models={})
TRACKER = FakeTracker(Keys(), lambda: EPOCH)


def _placer(limits: Limits = NO_LIMITS, home: Region | None = None) -> Placer:
    async def own() -> tuple[str, ...]:
        return ("mine",)

    keeper = HomeKeeper(home, TRACKER, Path("nowhere", "home.json"), rtts_ms=dict, clock=lambda: EPOCH)
    return Placer(keeper, limits, OwnNodes(own, monotonic=lambda: 0.0))


async def test_settings_hold_where_a_call_says_nothing() -> None:
    """Its limits replace the client's as a whole."""
    placer = _placer(Limits(min_sandbox=2), Region.ASIA)
    usual = await placer.placement(Demand(Task.LLM, params=PARAMS), info=INFO)
    assert (usual.wanted.model, usual.wanted.limits.min_sandbox, usual.home) == (MODEL, 2, Region.ASIA)
    assert usual.home_from == "setting"
    assert (usual.wanted.region, usual.wanted.own, usual.size.output_units) == (None, None, 100)
    demand = Demand(Task.LLM, "other", Region.EUROPE, Limits(own_nodes=True))
    own = await placer.placement(demand, info=INFO)
    assert (own.wanted.model, own.wanted.region, own.wanted.limits.min_sandbox) == ("other", Region.EUROPE, 0)
    assert (own.wanted.own, own.size) == ({"mine"}, TYPICAL_SIZE)


async def test_not_widening_means_the_clients_own_region() -> None:
    """Which must be known, unless the call names one."""
    narrow, demand = Limits(widen=False), Demand(Task.LLM)
    placed = await _placer(narrow, Region.ASIA).placement(demand, info=NO_DEFAULTS)
    assert placed.wanted.region is Region.ASIA
    with pytest.raises(InvalidRequest, match=r"gpunode regions.*GPUNODE_REGION"):
        await _placer(narrow).placement(demand, info=NO_DEFAULTS)
    pinned = Demand(Task.LLM, region=Region.AFRICA)
    placed = await _placer(narrow).placement(pinned, info=NO_DEFAULTS)
    assert placed.wanted.region is Region.AFRICA


def test_which_region_is_known_at_once() -> None:
    """All of them unless a job must stay in one; then the client's own may not be known yet."""
    narrow = Limits(widen=False)
    assert _placer().region_now(Demand(Task.LLM)) == (True, None)
    assert _placer(narrow).region_now(Demand(Task.LLM, limits=NO_LIMITS)) == (True, None)
    assert _placer(narrow).region_now(Demand(Task.LLM, region=Region.AFRICA)) == (True, Region.AFRICA)
    assert _placer(narrow, Region.ASIA).region_now(Demand(Task.LLM)) == (True, Region.ASIA)
    assert _placer(narrow).region_now(Demand(Task.LLM)) == (False, None)


async def test_what_costs_too_much() -> None:
    """By the most that the job can cost; without a job, by its expected size."""
    worst = (10 * input_tokens_bound(PARAMS) + 30 * 100) / 1_000_000
    for limit, is_fine in ((worst, True), (worst * 0.99, False)):
        demand = Demand(Task.LLM, limits=Limits(max_price_credits=limit), params=PARAMS)
        placed = await _placer().placement(demand, info=NO_DEFAULTS)
        assert (placed.objection(CANDIDATE) is None) == is_fine
    assert "credits, the limit is" in (placed.objection(CANDIDATE) or "")
    demand = Demand(Task.LLM, limits=Limits(max_price_credits=0.001))
    placed = await _placer().placement(demand, info=NO_DEFAULTS, size=JobSize(0, 33))
    assert placed.objection(CANDIDATE) is None
    placed = await _placer().placement(demand, info=NO_DEFAULTS, size=JobSize(0, 34))
    assert placed.objection(CANDIDATE) == "may cost 0.00102 credits, the limit is 0.001"


async def test_doubtful_places_are_refused_only_on_demand() -> None:
    """Routing goes by measured round trips, so that a lie about a place wins nothing."""
    info = Keys().network_info(doubtful_places=(CANDIDATE.node,))
    for limits, told in ((NO_LIMITS, None), (Limits(exclude_doubtful_places=True), PLACE_DOUBTFUL)):
        placed = await _placer().placement(Demand(Task.LLM, limits=limits), info=info)
        assert (placed.objection(CANDIDATE), placed.doubtful) == (told, {CANDIDATE.node})
    believed = await _placer().placement(Demand(Task.LLM, limits=limits), info=INFO)
    assert believed.objection(CANDIDATE) is None


async def test_the_first_reason_is_told() -> None:
    """Where two speak against a node."""
    limits = Limits(exclude_doubtful_places=True, max_price_credits=0)
    info = Keys().network_info(doubtful_places=(CANDIDATE.node,))
    placed = await _placer().placement(Demand(Task.LLM, limits=limits), info=info)
    assert "the limit is 0" in (placed.objection(CANDIDATE) or "")
