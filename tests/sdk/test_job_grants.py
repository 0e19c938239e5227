"""Together with whole jobs: see ``test_job_run``."""

from types import SimpleNamespace
from typing import Any, NoReturn, cast

from gpunode._grants import GrantStore
from gpunode._job_cost import Costing, JobCost
from gpunode._job_grants import JobGrants
from gpunode._job_requests import Job
from gpunode.errors import TrackerUnreachable
from gpunode_protocol.errors import ErrorCode
from gpunode_protocol.identity import Identity
from gpunode_protocol.payloads import ChatMessage, LlmParams
from gpunode_protocol.prices import Price, PriceTable
from gpunode_protocol.tasks import Task
from gpunode_protocol.vouchers import Voucher

NODE = Identity.from_seed(b"\x05" * 32).peer_id
PARAMS = LlmParams(messages=(ChatMessage(role="user", content="hi"),), max_tokens=1)
JOB = Job(
    id="x",
    task=Task.LLM,
    params=PARAMS,
    cost=JobCost(Task.LLM, output_units=5),
    ends_at=0.0,
    deadline_at=0,
    salt=bytes(32),
)


class _Held:
    def __init__(self, jti: str, price: int = 1) -> None:
        self.grant = self
        self.jti = jti
        self.prices = PriceTable(
            version=price, tasks={Task.LLM: Price(input_microcredits=0, output_microcredits=price)}
        )


class _Store:
    """Hands out numbered grants."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.left = 5
        self.price = 1
        self.spent: list[str] = []
        self.given_back: list[str] = []

    async def replace(self, task: Task, *, refused: str, cost: Costing) -> _Held:
        held = _Held("second", self.price)
        self.asked.append(f"{task} for {cost.at(held.prices)} instead of {refused}")
        return held

    def covers(self, held: _Held, *, promised_microcredits: int, cost_microcredits: int) -> bool:
        self.asked.append(f"whether {held.jti} covers {cost_microcredits} where {promised_microcredits} are promised")
        return cost_microcredits <= self.left

    def give_back(self, held: _Held, *, cost_microcredits: int) -> None:
        self.given_back.append(f"{cost_microcredits} of {held.jti}")

    async def named(self, task: Task, node: str, *, cost: Costing) -> _Held:
        held = _Held("named", self.price)
        self.asked.append(f"{task} for {cost.at(held.prices)} at {node}")
        return held

    def spend(self, jti: str, microcredits: int) -> None:
        self.spent.append(f"{microcredits} of {jti}")


def _grants() -> tuple[JobGrants, _Store]:
    store = _Store()
    return JobGrants(cast("GrantStore", store), JOB, cast("Any", _Held("first"))), store


async def test_an_exhausted_grant_is_replaced_and_then_named() -> None:
    """And after that the node's refusal stands."""
    grants, store = _grants()
    assert await grants.replace(NODE, ErrorCode.GRANT_EXHAUSTED, JOB.cost)
    assert grants.for_node(NODE).grant.jti == "second"
    assert await grants.replace(NODE, ErrorCode.GRANT_EXHAUSTED, JOB.cost)
    assert grants.for_node(NODE).grant.jti == "named"
    assert not await grants.replace(NODE, ErrorCode.GRANT_EXHAUSTED, JOB.cost)
    assert store.asked == ["llm for 5 instead of first", f"llm for 5 at {NODE}"]
    assert store.given_back == ["5 of first"]
    grants.job_over()
    assert store.given_back == ["5 of first", "5 of second"]


async def test_a_rest_that_costs_more_than_is_left_gets_another_grant() -> None:
    """As large as is needed, and given back in the same size."""
    grants, store = _grants()
    await grants.cover(JobCost(Task.LLM, output_units=5))
    assert grants.for_node(NODE).grant.jti == "first"
    await grants.cover(JobCost(Task.LLM, output_units=7))
    assert grants.for_node(NODE).grant.jti == "second"
    assert store.asked == [
        "whether first covers 5 where 5 are promised",
        "whether first covers 7 where 5 are promised",
        "llm for 7 instead of first",
    ]
    grants.job_over()
    assert store.given_back == ["5 of first", "7 of second"]


async def test_what_was_signed_for_counts_by_the_prices_of_its_grant() -> None:
    """Also when the next grant has others; what is promised then, likewise."""
    grants, store = _grants()
    store.price = 10
    await grants.replace(NODE, ErrorCode.GRANT_EXHAUSTED, JOB.cost)
    assert grants.for_node(NODE).prices.version == 10
    assert grants.has_promised(JOB.cost)
    for jti in ("first", "second"):
        fields: dict[str, Any] = {"jti": jti, "task": Task.LLM, "model": "m", "count": 3, "input_count": 0}
        grants.signed(cast("Any", SimpleNamespace(body=Voucher.model_construct(**fields))))
    grants.job_over()
    assert store.spent == ["3 of first", "30 of second"]
    assert store.given_back == ["5 of first", "50 of second"]


async def test_no_grant_helps_against_other_errors() -> None:
    """Nobody is asked for one."""
    grants, store = _grants()
    assert not await grants.replace(NODE, ErrorCode.BUSY, JOB.cost)
    assert not await grants.replace(NODE, None, JOB.cost)
    assert store.asked == []


async def test_without_a_tracker_there_is_no_other_grant() -> None:
    """The job is not over by that: another node may take the one that it has."""
    grants, store = _grants()

    async def unreachable(*_: object, **__: object) -> NoReturn:
        raise TrackerUnreachable("nobody there")

    store.replace = unreachable  # type: ignore[method-assign]  # -- as when it is cut off
    assert not await grants.replace(NODE, ErrorCode.REPLAY_MEMORY_FULL, JOB.cost)
    assert grants.for_node(NODE).grant.jti == "first"
