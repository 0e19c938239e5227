"""Queued jobs over plain HTTP, done by mesh nodes to which the tracker sends them."""

import base64
import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from gpunode import InferenceClient
from gpunode.errors import TrackerError
from gpunode_protocol import jobs_api as api
from gpunode_protocol.ledger_entries import SettledJob
from gpunode_protocol.prices import DEFAULT_PRICES
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import BALANCE_PATH

from tests.acceptance.network import REGIONS, Network, is_idle
from tests.acceptance.processes import Daemon, wait_until
from tests.engines.speech_samples import TEXT, spoken, word_error_rate

pytestmark = pytest.mark.acceptance

STORY = [{"role": "user", "content": "Tell me a long story about a fox."}]
ELSEWHERE = Region.OCEANIA
EVENT_PATIENCE_S = 60.0
"""Two cores serve all processes of these tests."""


@dataclass
class Customer:
    """An account of its own, so that nobody else moves its credits, and plain HTTP."""

    network: Network
    client: InferenceClient
    key: str
    known: set[str] = field(default_factory=set)

    def submit(self, kind: Task = Task.LLM, **fields: Any) -> api.JobTicket:
        """Queue a job."""
        status, body = self.network.call(
            "POST", api.JOBS_PATH, api.JobSubmission(type=kind, **fields), api_key=self.key
        )
        assert status == 202, body
        return api.JobTicket.model_validate_json(json.dumps(body))

    def chat(self, max_tokens: int, **fields: Any) -> api.JobTicket:
        """Queue a chat whose every token is the likeliest."""
        return self.submit(params={"messages": STORY, "max_tokens": max_tokens, "temperature": 0}, **fields)

    def view(self, job_id: str) -> api.JobView:
        """Return a job as it is now."""
        status, body = self.network.call("GET", api.JOB_PATH.format(job=job_id), api_key=self.key)
        assert status == 200, body
        return api.JobView.model_validate_json(json.dumps(body))

    def cancel(self, job_id: str) -> api.JobView:
        """Cancel a job."""
        status, body = self.network.call("DELETE", api.JOB_PATH.format(job=job_id), api_key=self.key)
        assert status == 200, body
        return api.JobView.model_validate_json(json.dumps(body))

    def ended(self, ticket: api.JobTicket) -> api.JobView:
        """Return a job once it has ended."""
        for _ in self.events(ticket):
            pass
        return self.view(ticket.job_id)

    def events(self, ticket: api.JobTicket) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield name and data of what happens to a job, until it has ended."""
        request = urllib.request.Request(
            self.network.url + api.JOB_EVENTS_PATH.format(job=ticket.job_id),
            headers={"Authorization": f"Bearer {self.key}"},
        )
        name = ""
        with closing(urllib.request.urlopen(request, timeout=EVENT_PATIENCE_S)) as reply:
            for line in reply:
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)

    def held(self) -> tuple[int, int]:
        """Return what the account can spend, and what is set aside, micro-credits."""
        status, body = self.network.call("GET", BALANCE_PATH, api_key=self.key)
        assert status == 200, body
        return body["spendable_microcredits"], body["reserved_microcredits"]

    def newly_settled(self) -> list[SettledJob]:
        """Return what was paid to nodes since the last call, newest first."""
        entries = [own.entry for own in self.client.ledger_entries(limit=100).entries if own.entry.settled]
        new = [entry.settled for entry in entries if entry.settled and entry.id not in self.known]
        self.known.update(entry.id for entry in entries)
        return new


@pytest.fixture(scope="module")
def account(network: Network) -> Iterator[Customer]:
    """An account; each test leaves nothing set aside."""
    account = network.tracker_command("create-account", "customer")["account"]
    key = network.tracker_command("create-key", account)["api_key"]
    with InferenceClient(network.url, api_key=key, state_dir=network.folder / "customer") as client:
        yield Customer(network, client, key)


@pytest.fixture
def customer(account: Customer) -> Customer:
    """The same; what was settled before the test is not its matter."""
    account.newly_settled()
    return account


def cost_of(job: SettledJob) -> int:
    """Return what was owed for a part of a job, micro-credits."""
    return DEFAULT_PRICES.cost_microcredits(
        Task(job.task), job.model, input_units=job.input_count, output_units=job.count
    )


def _node_of(network: Network, view: api.JobView) -> Daemon:
    assert view.served_by is not None
    return network.node_of(view.served_by.removeprefix("node:"))


def test_a_chat_through_the_queue(network: Network, customer: Customer) -> None:
    """The result, its usage, a co-signed receipt that the ledger proves, and exactly its cost less on the account."""
    before, _ = customer.held()
    ticket = customer.chat(24)
    assert ticket.estimated_wait is not None
    done = customer.ended(ticket)
    assert (done.status, done.attempts, done.failures) == ("completed", 1, ())
    assert done.result is not None
    assert len(done.result["response"]) > 20
    usage = done.result["usage"]
    assert (usage["completion_tokens"], usage["prompt_tokens"] > 5) == (24, True)
    assert _node_of(network, done) in network.nodes.values()
    (paid,) = customer.newly_settled()
    assert (paid.receipt, f"node:{paid.node}") == (bytes.fromhex(done.receipt or ""), done.served_by)
    cost = 10 * usage["prompt_tokens"] + 30 * 24
    assert cost_of(paid) == cost
    assert customer.held() == (before - cost, 0)
    proof = wait_until(lambda: _proof(customer, done.receipt or ""), "a head over the receipt")
    assert proof is not None


def _proof(customer: Customer, receipt: str) -> object:
    """Return the verified proof that the ledger has a receipt, None while no head covers it."""
    try:
        return customer.client.receipt_proof(receipt)
    except TrackerError as error:
        if error.status != 404:
            raise
        return None


def test_its_tokens_as_they_come(customer: Customer) -> None:
    """Server-sent events: all of the text, who writes it, and the end last."""
    ticket = customer.chat(40)
    events = list(customer.events(ticket))
    done = customer.view(ticket.job_id)
    assert done.result is not None
    tokens = [data["text"] for name, data in events if name == "tokens"]
    assert "".join(tokens) == done.result["response"]
    assert len(tokens) > 10
    names = [name for name, _ in events]
    assert names[0] in {"queued", "running"}
    assert events[-1] == ("done", {"status": "completed", "error": None})
    assert done.served_by in [data["served_by"] for name, data in events if name == "running"]
    assert names.index("running") < names.index("tokens")


@pytest.fixture
def _repaired(network: Network, client: InferenceClient) -> Iterator[None]:
    yield
    network.repair()
    wait_until(
        lambda: sum(info.rtt_ms is not None for info in client.nodes()) == len(network.nodes), "all nodes answer", 60
    )


@pytest.mark.usefixtures("_repaired")
def test_a_node_killed_in_mid_answer(network: Network, customer: Customer) -> None:
    """Another one finishes it: no token is lost or repeated, and both are paid for what came of them."""
    before, _ = customer.held()
    ticket = customer.chat(120)
    text, dead = "", None
    for name, data in customer.events(ticket):
        if name != "tokens":
            continue
        text += data["text"]
        if dead is None and len(text) > 60:
            dead = _node_of(network, customer.view(ticket.job_id))
            dead.kill()
    done = customer.view(ticket.job_id)
    assert (done.status, done.attempts) == ("completed", 1)
    assert done.result is not None
    assert done.result["response"] == text
    assert done.result["usage"]["completion_tokens"] == 120
    assert dead is not None
    parts = {part.node: part for part in customer.newly_settled()}
    first, second = parts.pop(dead.run["peer_id"]), parts.pop((done.served_by or "").removeprefix("node:"))
    assert parts == {}
    assert (first.count + second.count, first.receipt) == (120, None)
    spendable, reserved = customer.held()
    assert (before - spendable, reserved) == (cost_of(first) + cost_of(second), 0)


def test_a_cancelled_job_stops_at_its_node(network: Network, customer: Customer) -> None:
    """What came of it is paid, and the rest of what was set aside comes back."""
    before, _ = customer.held()
    ticket = customer.chat(3_000)
    seen = 0
    for name, data in customer.events(ticket):
        seen += name == "tokens"
        if seen == 20:
            node = _node_of(network, customer.view(ticket.job_id))
            assert customer.cancel(ticket.job_id).status == "cancelled"
            seen += 1
        if name == "done":
            assert data["status"] == "cancelled"
    wait_until(lambda: is_idle(node), "the node works on nothing")
    wait_until(lambda: customer.held()[1] == 0, "the rest comes back")
    (paid,) = customer.newly_settled()
    assert 20 <= paid.count < 3_000
    assert customer.held() == (before - cost_of(paid), 0)


@pytest.mark.parametrize(
    "region", [REGIONS[-1], *(pytest.param(region, marks=pytest.mark.full) for region in REGIONS[:-1])]
)
def test_a_job_stays_in_its_region(network: Network, customer: Customer, region: str) -> None:
    """Whichever it is."""
    done = customer.ended(customer.chat(4, region=region))
    assert (done.status, done.region) == ("completed", region)
    assert _node_of(network, done) is network.nodes[region]


def test_a_job_that_nobody_can_do_waits(customer: Customer) -> None:
    """It says so at once, is not tried, and goes on as soon as somebody comes."""
    ticket = customer.chat(4, region=ELSEWHERE, priority=api.MAX_PRIORITY)
    assert ticket.estimated_wait is None
    assert ticket.note
    assert customer.ended(customer.chat(4)).status == "completed"
    waiting = customer.view(ticket.job_id)
    assert (waiting.status, waiting.attempts) == ("queued", 0)
    customer.cancel(ticket.job_id)
    assert customer.held()[1] == 0


@pytest.mark.full
def test_a_tracker_that_stops_gives_its_jobs_back(network: Network, customer: Customer) -> None:
    """It exits with 0; when it is back, the job is sent again, and no attempt was lost."""
    ticket = customer.chat(3_000)
    for name, _ in customer.events(ticket):
        if name == "tokens":
            break
    try:
        assert network.tracker.terminate() == 0
    finally:
        network.revive_tracker()
    for name, _ in customer.events(ticket):
        if name == "tokens":
            break
    running = customer.view(ticket.job_id)
    assert (running.status, running.attempts, running.failures) == ("running", 1, ())
    customer.cancel(ticket.job_id)
    wait_until(lambda: customer.held()[1] == 0, "the rest comes back")


@pytest.fixture
def listener(network: Network) -> Iterator[Callable[[], Daemon]]:
    """Return what starts a node elsewhere that writes speech down, and waits for it."""
    started: list[Daemon] = []

    def start() -> Daemon:
        started.append(network.add_node(ELSEWHERE, "--model", "whisper-tiny.en", name="listener"))
        started[0].wait_ready()
        return started[0]

    yield start
    for node in started:
        node.stop()


@pytest.mark.full
def test_another_type_as_soon_as_somebody_can_do_it(
    customer: Customer, listener: Callable[[], Daemon], tmp_path: Path
) -> None:
    """The text of a spoken file, which goes to the node; the job has waited for it."""
    audio = base64.b64encode(spoken(TEXT, tmp_path / "speech.wav").read_bytes()).decode()
    ticket = customer.submit(Task.WHISPER, params={"audio": audio, "max_minutes": 1})
    assert ticket.estimated_wait is None
    node = listener()
    done = customer.ended(ticket)
    assert (done.status, done.served_by) == ("completed", f"node:{node.run['peer_id']}")
    assert done.result is not None
    assert word_error_rate(TEXT, done.result["text"]) <= 0.25
    (paid,) = customer.newly_settled()
    assert (paid.task, paid.count) == (Task.WHISPER, done.result["usage"]["audio_ms"])
    assert done.receipt is not None
