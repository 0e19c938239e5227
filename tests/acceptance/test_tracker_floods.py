"""Floods against a running tracker: it stays small and goes on serving others. Its limits are the defaults."""

import asyncio
import contextlib
import resource
import select
import shutil
import socket
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from gpunode._tracker import TrackerClient
from gpunode_protocol import tracker_api as api
from gpunode_protocol.identity import Identity
from gpunode_protocol.signing import sign

from tests.acceptance.flood_target import FloodTarget
from tests.acceptance.http_peer import Answer, HttpPeer
from tests.acceptance.processes import wait_until

pytestmark = pytest.mark.acceptance

MIB = 1024 * 1024
MAX_GROWTH_BYTES = 150 * MIB
CONNECTIONS = 5_000


@pytest.fixture(scope="module")
def target() -> Iterator[FloodTarget]:
    """Start the tracker; at the end it must be the same process, and still stop cleanly."""
    folder = Path(tempfile.mkdtemp(prefix="gpn-"))
    try:
        made = FloodTarget(folder)
        yield made
        assert made.daemon.terminate() == 0
        assert "request_failed" not in made.daemon.log()
    finally:
        made.daemon.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _peers_are_closed(target: FloodTarget) -> Iterator[None]:
    yield
    target.close_peers()


@pytest.fixture
def grows_little(target: FloodTarget) -> Iterator[None]:
    """What the test does takes less than 150 MB of the tracker's memory, and the tracker serves others after it."""
    before = target.memory_bytes()
    yield
    assert target.memory_bytes() - before < MAX_GROWTH_BYTES
    assert target.peer().ask("GET", api.NETWORK_PATH).status == 200


@pytest.fixture
def many_files() -> Iterator[None]:
    """Allow this process as many connections as the tests open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CONNECTIONS + 1_000:
        pytest.skip(f"the system allows {hard} open files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _check_refusals(answers: list[Answer]) -> None:
    """Every refusal says what happened and when to come back."""
    refused = [answer for answer in answers if answer.status == 429]
    assert refused
    for answer in refused:
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.problem["code"] == "too_many_requests"
        assert ";r=0;" in answer.headers["ratelimit"]


def test_one_key_floods(target: FloodTarget) -> None:
    """It is told to wait; another key is served all the time, even from the same address."""
    mine, yours, peer = target.key(), target.key(), target.peer()
    answers = []
    for _ in range(300):
        answers.append(peer.ask("GET", api.BALANCE_PATH, key=mine))
        if len(answers) % 5 == 0:
            assert peer.ask("GET", api.BALANCE_PATH, key=yours).status == 200
    _check_refusals(answers)
    assert [answer.status for answer in answers[:120]] == [200] * 120
    assert target.rejected("lookups") >= sum(answer.status == 429 for answer in answers)


@pytest.mark.parametrize("header", [{}, {"X-Forwarded-For": "203.0.113.{}"}], ids=["plain", "made-up addresses"])
def test_one_address_floods(target: FloodTarget, header: dict[str, str]) -> None:
    """It is told to wait, whatever it says of its address; another one is served all the time."""
    flooder, other = target.peer(), target.peer()
    answers = []
    for number in range(3_000):
        headers = {name: value.format(number % 250) for name, value in header.items()}
        answers.append(flooder.ask("GET", api.HEALTH_PATH, headers=headers))
        if number % 10 == 0:
            assert other.ask("GET", api.NETWORK_PATH).status == 200
    _check_refusals(answers)
    assert [answer.status for answer in answers[:1_000]] == [200] * 1_000


def test_an_address_tries_keys(target: FloodTarget) -> None:
    """After some wrong ones no key of it is looked at; the right one works from elsewhere."""
    guesser, key = target.peer(), target.key()
    statuses = Counter(guesser.ask("GET", api.BALANCE_PATH, key=f"gpn_{number}").status for number in range(200))
    assert statuses[401] < 60
    assert statuses[429] > 140
    assert target.peer().ask("GET", api.BALANCE_PATH, key=key).status == 200


def test_an_address_registers_nodes(target: FloodTarget) -> None:
    """It fills no table: after some dozens it is told to wait; another address's node gets in."""

    def register(peer: HttpPeer) -> int:
        reply = peer.ask("POST", api.CHALLENGE_PATH)
        if reply.status != 200:
            return reply.status
        challenge = api.ChallengeReply.model_validate_json(reply.body).challenge
        node = Identity.generate()
        body = api.Registration(network=network, peer=node.peer_id, challenge=challenge)
        request = api.RegisterRequest(registration=sign(node, body).envelope)
        return peer.ask("POST", api.REGISTER_PATH, request.model_dump_json().encode()).status

    flooder = target.peer()
    network = api.NetworkInfo.model_validate_json(flooder.ask("GET", api.NETWORK_PATH).body).network
    statuses = Counter(register(flooder) for _ in range(150))
    assert 60 <= statuses[201] < 100
    assert statuses[201] + statuses[429] == 150
    assert register(target.peer()) == 201


async def test_the_sdk_waits(target: FloodTarget) -> None:
    """More calls at once than a key may make are all answered in the end."""
    client = TrackerClient(target.url, api_key=target.key())
    before = target.rejected("lookups")
    try:
        balances = await asyncio.gather(*(client.balance() for _ in range(150)))
    finally:
        await client.close()
    assert {balance.spendable_microcredits for balance in balances} == {1_000_000_000}
    assert target.rejected("lookups") > before


@pytest.mark.usefixtures("grows_little")
@pytest.mark.parametrize("path", [api.SETTLEMENTS_PATH, api.REGISTER_PATH])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_endless_bodies(target: FloodTarget, path: str, declared: bool) -> None:
    """413 as soon as it is clear that a body is too large; soon after, its connection ends."""
    length = f"Content-Length: {10**12}" if declared else "Transfer-Encoding: chunked"
    piece = b" " * MIB
    piece = piece if declared else b"%x\r\n%b\r\n" % (len(piece), piece)
    with target.peer().connect() as client:
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode())
        sent_mib = _send_until_closed(client, piece, most=20_000)
        assert sent_mib < 20_000
    if declared:
        with target.peer().connect() as client:
            client.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode())
            assert client.recv(100).startswith(b"HTTP/1.1 413 ")
    assert target.rejected("body_size") > 0


def _send_until_closed(client: socket.socket, piece: bytes, *, most: int) -> int:
    """Send pieces until the other side closes; return how many were sent."""
    for number in range(most):
        try:
            client.sendall(piece)
        except ConnectionError:
            return number
    return most


@pytest.mark.usefixtures("grows_little")
def test_large_bodies_that_do_not_end(target: FloodTarget) -> None:
    """Forty from one address do not stay in memory; another one's batch is taken meanwhile."""
    flooder = target.peer()
    head = f"POST {api.SETTLEMENTS_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {8 * MIB}\r\n\r\n".encode()
    with ExitStack() as stack:
        for _ in range(40):
            client = stack.enter_context(flooder.connect())
            with contextlib.suppress(ConnectionError):
                client.sendall(head + b" " * (7 * MIB))
        assert target.memory_bytes() < 400 * MIB
        assert target.peer().ask("POST", api.SETTLEMENTS_PATH, b" " * (7 * MIB)).status == 400
    wait_until(lambda: target.rejected("large_bodies") >= 30, "refusals of large bodies")


@pytest.mark.usefixtures("grows_little")
@pytest.mark.parametrize(("count", "length"), [(46, 2_000), (120, 8_000)], ids=["allowed", "too large"])
def test_large_headers_that_do_not_end(target: FloodTarget, count: int, length: int) -> None:
    """All that one address can leave half said takes little memory."""
    flooder = target.peer()
    before = target.memory_bytes()
    header = b"X-%d: " + b"x" * length + b"\r\n"
    head = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(header % number for number in range(count))
    with ExitStack() as stack:
        for _ in range(256):
            client = stack.enter_context(flooder.connect())
            with contextlib.suppress(ConnectionError):
                client.sendall(head)
        assert target.peer().ask("GET", api.NETWORK_PATH).status == 200
        assert target.memory_bytes() - before < MAX_GROWTH_BYTES


@pytest.mark.usefixtures("grows_little")
def test_requests_without_end_and_nobody_reads(target: FloodTarget) -> None:
    """Answers that are not taken, with more requests behind them, do not pile up."""
    flooder = target.peer()
    before = target.memory_bytes()
    headers = b"".join(b"X-%d: %b\r\n" % (number, b"x" * 2_000) for number in range(44))
    requests = (b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n") * 40
    with ExitStack() as stack:
        for _ in range(200):
            client = stack.enter_context(flooder.connect())
            client.setblocking(False)
            with contextlib.suppress(OSError):
                for _ in range(4):
                    client.send(requests)
        assert target.peer().ask("GET", api.NETWORK_PATH).status == 200
        assert target.memory_bytes() - before < MAX_GROWTH_BYTES


@pytest.mark.usefixtures("grows_little", "many_files")
def test_idle_connections_of_one_address(target: FloodTarget) -> None:
    """Of 5,000 the tracker keeps 256; whoever comes from elsewhere is served."""
    flooder = target.peer()
    before = target.rejected("connections")
    with ExitStack() as stack:
        clients = [stack.enter_context(flooder.connect()) for _ in range(CONNECTIONS)]
        assert target.peer().ask("GET", api.NETWORK_PATH).status == 200
        assert target.rejected("connections") - before == CONNECTIONS - 256
        assert len(_ended(clients)) == CONNECTIONS - 256
        assert target.memory_bytes() < 400 * MIB


@pytest.mark.usefixtures("grows_little", "many_files")
def test_idle_connections_of_many_addresses(target: FloodTarget) -> None:
    """5,000 from fifty addresses are all kept, take little memory, and nobody waits for their end."""
    before = target.memory_bytes()
    peers = [target.peer() for _ in range(50)]
    with ExitStack() as stack:
        clients = [stack.enter_context(peers[number % 50].connect()) for number in range(CONNECTIONS)]
        assert target.peer().ask("GET", api.NETWORK_PATH).status == 200
        assert _ended(clients) == []
        assert target.memory_bytes() - before < MAX_GROWTH_BYTES


def _ended(clients: list[socket.socket]) -> list[int]:
    """Return the connections that the tracker has ended."""
    poller = select.poll()
    for client in clients:
        poller.register(client, select.POLLIN)
    return [descriptor for descriptor, _ in poller.poll(0)]


@pytest.mark.full
@pytest.mark.usefixtures("grows_little")
def test_dripping_connections(target: FloodTarget) -> None:
    """Headers and bodies that come byte by byte, and silence, end within a minute; others are served meanwhile."""
    beginnings = {
        "silence": b"",
        "headers": b"GET / HTTP/1.1\r\nX: ",
        "body": f"POST {api.SETTLEMENTS_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode(),
        "chunk": f"POST {api.SETTLEMENTS_PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n".encode(),
    }
    with ExitStack() as stack:
        clients = {name: stack.enter_context(target.peer().connect()) for name in beginnings}
        for name, beginning in beginnings.items():
            clients[name].sendall(beginning)
            clients[name].settimeout(0.2)
        open_ones = set(beginnings)

        def drip() -> bool:
            for name in sorted(open_ones):
                if _has_ended(clients[name], drop=b"" if name == "silence" else b"1"):
                    open_ones.discard(name)
            assert target.peer().ask("GET", api.HEALTH_PATH).status == 200
            return not open_ones

        wait_until(drip, "the end of all dripping connections", 60)


def _has_ended(client: socket.socket, drop: bytes) -> bool:
    """Send one more byte; whether the tracker has closed the connection."""
    try:
        client.sendall(drop)
        return client.recv(4_096) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True
