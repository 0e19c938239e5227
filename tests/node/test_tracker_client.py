"""Calls to the tracker."""

from pathlib import Path

import pytest
import stamina
from aiohttp import web
from aiohttp.test_utils import TestServer
from gpunode_node.errors import TrackerBusy, TrackerRefused, TrackerUnreachable
from gpunode_node.tracker_client import LONGEST_RETRY_AFTER_S, MAX_DETAIL_CHARS, TrackerClient
from gpunode_protocol.errors import BadTrackerAddress
from gpunode_protocol.signing import Envelope
from gpunode_protocol.tracker_api import HeartbeatRequest, Problem

from tests.node.fake_tracker import FakeTracker, running_tracker
from tests.node.world import NETWORK, NODE


async def test_network_info() -> None:
    """A reply is read into its model."""
    async with running_tracker() as tracker:
        client = TrackerClient(tracker.url)
        assert (await client.network()).network == NETWORK
        await client.close()
        await client.close()


async def test_a_refusal_tells_the_trackers_words() -> None:
    """Status and detail of the problem body."""
    async with running_tracker() as tracker:
        client = TrackerClient(tracker.url, attempts=1)
        with pytest.raises(TrackerRefused, match="Register first") as caught:
            await client.heartbeat(NODE.peer_id, "wrong", HeartbeatRequest(status="online"))
        assert caught.value.status == 401
        await client.close()


async def test_an_address_that_redirects() -> None:
    """It is not followed; where it leads to is told."""
    async with running_tracker() as tracker:
        tracker.refuses = 302
        client = TrackerClient(tracker.url, attempts=1)
        with pytest.raises(TrackerUnreachable, match=r"\(302\).*: it redirects to https://login.example, which"):
            await client.network()
        await client.close()


async def test_a_tracker_that_is_down() -> None:
    """No listener, and a server that answers 503, are both unreachable."""
    async with running_tracker() as tracker:
        tracker.down = True
        client = TrackerClient(tracker.url, attempts=1)
        with pytest.raises(TrackerUnreachable, match="503"):
            await client.network()
    with pytest.raises(TrackerUnreachable, match="does not answer"):
        await client.network()
    await client.close()


def _limiting(times: int, retry_after: str) -> tuple[web.Application, list[str]]:
    """Return a tracker that says 429 some times, then 418; and the paths that it was asked for."""
    seen: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(request.path)
        limited = len(seen) <= times
        return web.Response(status=429 if limited else 418, headers={"Retry-After": retry_after} if limited else {})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    return app, seen


async def test_a_limit_is_waited_out() -> None:
    """After 429 even a registration is sent again when the time is over: the tracker has not looked at it."""
    stamina.set_testing(False)
    app, seen = _limiting(1, "0")
    async with TestServer(app) as server:
        client = TrackerClient(str(server.make_url("")).rstrip("/"))
        with pytest.raises(TrackerRefused, match="418"):
            await client.register(Envelope(body=b"", signature=b""))
        assert len(seen) == 2
        with pytest.raises(TrackerRefused, match="418"):
            await client.network()
        await client.close()


async def test_a_long_limit_is_left_to_the_caller() -> None:
    """A tracker that wants a minute of peace gets it."""
    stamina.set_testing(False)
    app, seen = _limiting(1, "60")
    async with TestServer(app) as server:
        client = TrackerClient(str(server.make_url("")).rstrip("/"))
        with pytest.raises(TrackerBusy, match="429") as caught:
            await client.network()
        assert (caught.value.limited, caught.value.retry_after_s, len(seen)) == (True, 60, 1)
        await client.close()


@pytest.mark.parametrize("said", ["86400", "9" * 400])
async def test_nobody_is_sent_away_for_a_day(said: str) -> None:
    """A pull worker waits as long as it is told; a proxy's maintenance page does not know when the tracker is back."""
    app, _ = _limiting(1, said)
    async with TestServer(app) as server:
        client = TrackerClient(str(server.make_url("")).rstrip("/"), attempts=1)
        with pytest.raises(TrackerBusy) as caught:
            await client.network()
        assert caught.value.retry_after_s == LONGEST_RETRY_AFTER_S
        await client.close()


async def test_long_words_are_cut() -> None:
    """They go into the log and the worker's status."""

    async def refuse(_: web.Request) -> web.Response:
        problem = Problem(title="No", status=409, detail="y" * 1_000_000)
        return web.Response(status=409, text=problem.model_dump_json(), content_type="application/problem+json")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    async with TestServer(app) as server:
        client = TrackerClient(str(server.make_url("")).rstrip("/"))
        with pytest.raises(TrackerRefused, match="yyy") as caught:
            await client.network()
        assert len(str(caught.value)) < 2 * MAX_DETAIL_CHARS
        await client.close()


async def test_a_registration_is_not_sent_twice() -> None:
    """After a failure nobody knows whether its challenge was used up."""
    stamina.set_testing(False)
    async with running_tracker() as tracker:
        tracker.down = True
        client = TrackerClient(tracker.url)
        with pytest.raises(TrackerBusy, match="503") as caught:
            await client.register(Envelope(body=b"", signature=b""))
        assert not caught.value.limited
        await client.close()


async def test_something_else_than_a_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply of another shape is an error in words, not a traceback."""
    monkeypatch.setattr(FakeTracker, "_network", FakeTracker._challenge)
    async with running_tracker() as tracker:
        client = TrackerClient(tracker.url, attempts=1)
        with pytest.raises(TrackerUnreachable, match="something else"):
            await client.network()
        await client.close()


@pytest.mark.parametrize("status", [302, 401, 403, 404])
async def test_somebody_between_who_answers(status: int) -> None:
    """The page of a proxy, or of a network that wants a sign-in, is no refusal of the tracker's: it is asked again."""

    async def page(_request: web.Request) -> web.Response:
        return web.Response(status=status, text="<html>Sign in</html>", content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", page)
    async with TestServer(app) as server:
        client = TrackerClient(str(server.make_url("")).rstrip("/"), attempts=1)
        with pytest.raises(TrackerUnreachable, match=f"Something else than the tracker.*{status}"):
            await client.network()
        await client.close()


def test_a_bad_authority_file(tmp_path: Path) -> None:
    """The file is named."""
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(BadTrackerAddress, match=r"ca\.pem"):
        TrackerClient("https://t.example", ca_file=tmp_path / "ca.pem")
