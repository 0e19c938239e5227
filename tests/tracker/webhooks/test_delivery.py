"""One POST to a stranger's address, over real TLS on loopback."""

import asyncio
import gzip
import socket
import ssl
from pathlib import Path

import pytest
from aiohttp import web
from gpunode_tracker.webhooks.delivery import MAX_ANSWER_BYTES, Deliverer, Outcome

from tests.tracker.certificates import self_signed
from tests.tracker.webhooks.receiver import (
    HOST,
    URL,
    FixedResolver,
    Receiver,
    is_loopback,
    receiving,
    status,
)

BODY = b'{"job_id":"1"}'


async def _post(receiver: Receiver, url: str = URL, *, resolver: FixedResolver | None = None) -> Outcome:
    opened = Deliverer.open(resolver=resolver or receiver.resolver, check=is_loopback, tls=receiver.tls)
    async with opened as deliverer:
        return await deliverer.post(url, BODY, {"X-Test": "1"})


async def test_a_webhook_arrives(tmp_path: Path) -> None:
    """With its body and headers, under the host's name; the connection stood to the address that was looked up."""
    async with receiving(tmp_path) as receiver:
        assert await _post(receiver) == Outcome()
    (letter,) = receiver.letters
    assert (letter.path, letter.body) == ("/jobs?token=hush", BODY)
    assert (letter.headers["Host"], letter.headers["X-Test"]) == (HOST, "1")
    assert letter.headers["User-Agent"].startswith("gpunode/")


@pytest.mark.parametrize("code", [200, 202, 299])
async def test_every_success_is_one(tmp_path: Path, code: int) -> None:
    """Any 2xx."""
    async with receiving(tmp_path, status(code)) as receiver:
        assert await _post(receiver) == Outcome()


@pytest.mark.parametrize(("code", "final"), [(400, False), (404, False), (410, True), (429, False), (500, False)])
async def test_other_answers_are_failures(tmp_path: Path, code: int, final: bool) -> None:
    """To be tried again, unless the receiver says that it is gone for good."""
    async with receiving(tmp_path, status(code)) as receiver:
        assert await _post(receiver) == Outcome(f"it was answered {code}", final=final)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(tmp_path: Path, code: int) -> None:
    """Not to a private address, nor anywhere else."""
    async with receiving(tmp_path, status(code, Location="https://10.0.0.1/"), status(200)) as receiver:
        outcome = await _post(receiver)
    assert outcome == Outcome(f"it was answered {code}, and redirects are not followed", final=True)
    assert len(receiver.letters) == 1


@pytest.mark.parametrize("url", ["https://10.0.0.1/", "http://hooks.example/", "https://hooks.example:8443/"])
async def test_what_is_refused_at_submission_is_refused_again(tmp_path: Path, url: str) -> None:
    """The rules may have become stricter since."""
    async with receiving(tmp_path) as receiver:
        outcome = await _post(receiver, url)
    assert outcome.final
    assert "webhook: " in str(outcome.problem)
    assert receiver.letters == []


async def test_a_name_that_leads_to_a_private_address_is_not_connected_to(tmp_path: Path) -> None:
    """The receiver there, on this machine, hears nothing."""
    async with receiving(tmp_path) as receiver:
        opened = Deliverer.open(resolver=receiver.resolver, tls=receiver.tls)
        async with opened as deliverer:
            outcome = await deliverer.post(URL, BODY, {})
    assert outcome == Outcome("the host leads to an address that is not public", final=True)
    assert receiver.letters == []


async def test_a_name_that_leads_elsewhere_a_moment_later_gains_nothing(tmp_path: Path) -> None:
    """It is looked up once, and what was checked is what is connected to; the next look-up is checked anew."""
    async with receiving(tmp_path) as receiver:
        here = ("127.0.0.1", receiver.port)
        resolver = FixedResolver({HOST: [[here], [("10.0.0.7", 443)]]})
        async with Deliverer.open(resolver=resolver, check=is_loopback, tls=receiver.tls) as deliverer:
            assert await deliverer.post(URL, BODY, {}) == Outcome()
            assert resolver.asked == [HOST]
            outcome = await deliverer.post(URL, BODY, {})
    assert outcome == Outcome("the host leads to an address that is not public", final=True)
    assert len(receiver.letters) == 1


async def test_a_name_with_a_private_address_among_others_is_not_connected_to(tmp_path: Path) -> None:
    """Else whichever answers first would be talked to."""
    async with receiving(tmp_path) as receiver:
        resolver = FixedResolver({HOST: [[("127.0.0.1", receiver.port), ("10.0.0.7", 443)]]})
        outcome = await _post(receiver, resolver=resolver)
    assert outcome.final
    assert receiver.letters == []


async def test_proxies_of_the_environment_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They could reach what this may not."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with receiving(tmp_path) as receiver:
        assert await _post(receiver) == Outcome()


async def test_a_slow_receiver_does_not_hold_it_up(tmp_path: Path) -> None:
    """Who does not answer in time has failed."""
    over = asyncio.Event()

    async def never(_request: web.Request) -> web.StreamResponse:
        await over.wait()
        return web.Response()

    async with receiving(tmp_path, never) as receiver:
        opened = Deliverer.open(resolver=receiver.resolver, check=is_loopback, tls=receiver.tls, timeout_s=0.5)
        async with opened as deliverer:
            assert await deliverer.post(URL, BODY, {}) == Outcome("no answer within 0.5 s")
        over.set()


async def test_a_huge_answer_is_not_read_to_its_end(tmp_path: Path) -> None:
    """The status counts; the rest is cut off."""
    cut_off = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=200)
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * MAX_ANSWER_BYTES)
        except ConnectionError:
            cut_off.set()
            raise

    async with receiving(tmp_path, endless) as receiver:
        assert await _post(receiver) == Outcome()
        await cut_off.wait()


async def test_a_compressed_answer_is_not_unpacked(tmp_path: Path) -> None:
    """Nor is it looked at whether it could be."""

    async def packed(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=gzip.compress(b"0" * 1_000)[:-9], headers={"Content-Encoding": "gzip"})

    async with receiving(tmp_path, packed) as receiver:
        assert await _post(receiver) == Outcome()


async def test_an_answer_that_breaks_off_counts_by_its_status(tmp_path: Path) -> None:
    """The receiver had it, whatever came then."""

    async def broken(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with receiving(tmp_path, broken) as receiver:
        assert await _post(receiver) == Outcome()


async def test_a_certificate_of_nobody_known_is_not_believed(tmp_path: Path) -> None:
    """Whoever stands in between learns nothing."""
    async with receiving(tmp_path) as receiver:
        receiver.tls = ssl.create_default_context()
        assert await _post(receiver) == Outcome("the host's certificate is not valid")
    assert receiver.letters == []


async def test_a_certificate_of_another_name_is_not_believed(tmp_path: Path) -> None:
    """The name in the URL counts, not the address."""
    async with receiving(tmp_path) as receiver:
        resolver = FixedResolver({"other.example": [[("127.0.0.1", receiver.port)]]})
        outcome = await _post(receiver, "https://other.example/", resolver=resolver)
    assert outcome == Outcome("the host's certificate is not valid")


async def test_a_name_that_nobody_knows_is_tried_again(tmp_path: Path) -> None:
    """It may come back."""
    async with receiving(tmp_path) as receiver:
        outcome = await _post(receiver, resolver=FixedResolver({}))
    assert outcome == Outcome("the host's name cannot be looked up")


async def test_who_does_not_listen_is_tried_again(tmp_path: Path) -> None:
    """Likewise."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with receiving(tmp_path) as receiver:
        outcome = await _post(receiver, resolver=FixedResolver({HOST: [[("127.0.0.1", port)]]}))
    assert str(outcome.problem).startswith("no connection")
    assert not outcome.final


async def _serve_bytes(data: bytes, tls: ssl.SSLContext | None) -> tuple[asyncio.Server, int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(data)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    return server, server.sockets[0].getsockname()[1]


async def test_who_speaks_no_tls_fails(tmp_path: Path) -> None:
    """Nothing of the webhook is sent in the clear."""
    server, port = await _serve_bytes(b"HTTP/1.1 200 OK\r\n\r\n", None)
    async with server, receiving(tmp_path) as receiver:
        outcome = await _post(receiver, resolver=FixedResolver({HOST: [[("127.0.0.1", port)]]}))
    assert outcome == Outcome("no TLS connection can be made")


@pytest.mark.parametrize("data", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n"])
async def test_who_speaks_no_http_fails(tmp_path: Path, data: bytes) -> None:
    """Also with endless headers."""
    certificate, key = self_signed(tmp_path, HOST)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    server, port = await _serve_bytes(data, tls)
    async with server:
        resolver = FixedResolver({HOST: [[("127.0.0.1", port)]]})
        believed = ssl.create_default_context(cafile=str(certificate))
        async with Deliverer.open(resolver=resolver, check=is_loopback, tls=believed) as deliverer:
            outcome = await deliverer.post(URL, BODY, {})
    assert outcome == Outcome("the connection ended before the answer, or it was no HTTP")
