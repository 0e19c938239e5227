"""Requests that nobody sends by mistake, to every route: refused as documented, and nothing breaks."""

import itertools
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from gpunode_protocol.admin_api import KeyRotation
from gpunode_protocol.tracker_api import HEALTH_PATH, Problem
from gpunode_tracker.administration import Administration
from gpunode_tracker.app import create_app
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.openapi.parameters import VARIABLES
from gpunode_tracker.openapi.route import Route
from gpunode_tracker.routes import ROUTES
from gpunode_tracker.tracker import Tracker
from yarl import URL

from tests.tracker.conftest import World
from tests.tracker.openapi.fuzzed import FREELY, Inhabitants, populate

MIB = 1024 * 1024

WITH_BODY = [route for route in ROUTES if route.body is not None]
LARGE = {"/api/v1/jobs", "/api/v1/jobs/sync", "/api/v1/jobs/{job}/complete"}
"""Paths that take megabytes."""
WITH_QUERY = [route for route in ROUTES if route.query]
WITH_VARIABLES = [route for route in ROUTES if route.variables]

SQL = [
    "' OR '1'='1",
    "'; DROP TABLE jobs;--",
    '" OR ""="',
    "1) UNION SELECT key_hash FROM api_keys--",
    "%27%20OR%201=1",
]
HEADER_LINES = ["a\r\nX-Injected: 1", "a\nSet-Cookie: a=b", "a\r\n\r\n<html>", "\u2028X-Injected: 1"]
CONTROL = ["\x00", "a\x00b", "\x01\x1f\x7f", "\x1b[31mred", "\ufeff", "\u202egnp.exe", "\ud7ff\ue000", "💥" * 200]
PATHS = ["../../etc/passwd", "..\\..\\x", "%00", "a/b", "{job}", "*", "a" * 3_000]
STRANGE_HEADERS = [
    "",
    " ",
    "\x7f",
    "é" * 10,
    "Bearer ",
    "Bearer a b",
    "a" * 1_500,
    "'; DROP TABLE jobs;--",
    "1, 2",
    "\t",
]
HOSTILE = [*SQL, *HEADER_LINES, *CONTROL, *PATHS]


@dataclass(frozen=True)
class Hostile:
    """A tracker without limits of rates, and who is in it."""

    world: World
    inhabitants: Inhabitants

    async def send(self, route: Route, path: str | None = None, **options: Any) -> ClientResponse:
        """Call a route as who may; check that the answer is one that it says it gives."""
        target = URL(path or self.path(route), encoded=True)
        headers = self.inhabitants.credentials(route)
        answer = await self.world.http.request(route.method, target, headers=headers, **options)
        text = await answer.text()
        known = {*route.replies, *route.problem_statuses, 404, 405}
        assert answer.status in known - {500, 503}, (route.method, str(target)[:200], answer.status, text[:500])
        assert "X-Injected" not in answer.headers
        assert "Set-Cookie" not in answer.headers
        if answer.status >= 400:
            assert answer.content_type == "application/problem+json"
            assert Problem.model_validate_json(text).status == answer.status
        return answer

    def path(self, route: Route, **values: str) -> str:
        """Return a route's path with variables of things that exist; values: of some variables instead."""
        known = {name: self.inhabitants.id_for(route, name) or VARIABLES[name].example for name in route.variables}
        return route.path.format_map(known | values)


@pytest.fixture
async def hostile(settings: TrackerSettings) -> AsyncIterator[Hostile]:
    """A tracker to be attacked, which is as it was at the end."""
    tracker = await Tracker.open(settings.model_copy(update=FREELY))
    async with TestClient(TestServer(create_app(tracker))) as http:
        world = World(tracker, http, Administration(tracker.settings, tracker.database, tracker.keys, tracker.clock))
        yield Hostile(world, await populate(world))
        assert (await world.http.get(HEALTH_PATH)).status == 200


async def test_pages_of_impossible_lengths_are_refused(hostile: Hostile) -> None:
    """Of every list, with what it may be; the longest that the document names is given."""
    lists = [(route, query) for route in ROUTES for query in route.query if query.name == "limit"]
    assert len(lists) > 8
    for route, query in lists:
        highest = query.schema["maximum"]
        for text in ("0", str(highest + 1), "-1", "x", ""):
            answer = await hostile.send(route, f"{hostile.path(route)}?limit={text}")
            assert (answer.status, "limit is a whole number from 1 to" in await answer.text()) == (422, True), (
                route.path
            )
        assert (await hostile.send(route, f"{hostile.path(route)}?limit={highest}")).status == 200, route.path


UNKNOWN_FIELDS = b'{"name":NaN,"type":-Infinity}'
"""To a route that asks for nothing it is an empty object: fields that are not known are not looked at."""


async def test_whatever_the_paths_name_is_there(hostile: Hostile) -> None:
    """Or these and the made-up requests would be refused before anything is done."""
    found = [route for route in ROUTES if route.variables and route.method == "GET"]
    assert {name for route in found for name in route.variables} >= {"job", "receipt", "worker", "account", "asset"}
    statuses = {route.path: (await hostile.send(route)).status for route in found}
    assert {path: status for path, status in statuses.items() if status != 200} == {}


def _nested(depth: int) -> Iterator[str]:
    yield "[" * depth
    yield "[" * depth + "]" * depth
    yield '{"a":' * depth + "1" + "}" * depth
    yield '{"params":' + "[" * depth + "]" * depth + "}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{}",
        b'{"a":1,}',
        b"{'a':1}",
        b"NaN",
        UNKNOWN_FIELDS,
        b"\xff\xfe{\x00}\x00",
        b'{"name":"\xff\xc0\xaf"}',
        b'{"name":"\\ud800"}',
        b'{"name":"\\udc00\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"\x00",
        b"{}{}",
        b"<xml/>",
        b"a=1&b=2",
    ],
)
async def test_what_is_no_body_is_refused(hostile: Hostile, body: bytes) -> None:
    """No JSON, no UTF-8, halves of characters, no object, nothing that was asked for; 4xx from every route."""
    for route in WITH_BODY:
        answer = await hostile.send(route, data=body)
        assert answer.status in {400, 404, 422} or body in {b"{}", UNKNOWN_FIELDS}, (route.path, answer.status)


async def test_deep_nesting_is_refused(hostile: Hostile) -> None:
    """However it is meant to overflow the stack."""
    for route in WITH_BODY:
        for depth in (1_000, 10_000):
            for body in _nested(depth):
                assert (await hostile.send(route, data=body)).status in {400, 404, 409, 422}


async def test_nesting_that_is_not_read_is_refused_or_kept(hostile: Hostile) -> None:
    """Parameters of a job are JSON objects of any shape within limits."""
    (route,) = (route for route in WITH_BODY if route.path == "/api/v1/jobs")
    for depth in (10, 100, 190, 1_000):
        schema = '{"a":' * depth + "1" + "}" * depth
        text = f'{{"type":"llm","params":{{"messages":[{{"role":"user","content":"x"}}],"json_schema":{schema}}}}}'
        assert (await hostile.send(route, data=text)).status in {202, 400, 422}


async def test_ten_megabytes_are_too_many(hostile: Hostile) -> None:
    """Announced or not; who takes more for good reasons takes no nonsense of that size."""
    huge = b'{"name":"' + b"x" * (10 * MIB) + b'"}'
    for route in WITH_BODY:
        expected = 422 if route.path in LARGE else 413
        assert (await hostile.send(route, data=BytesIO(huge))).status == expected, route.path
    for route in WITH_BODY:
        if route.path not in LARGE:
            assert (await hostile.send(route, data=_pieces(9 * MIB))).status == 413, route.path


async def _pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65_536):
        yield b"[" * 65_536


@pytest.mark.parametrize(
    "number",
    ["1e400", "-1e400", "1" + "0" * 400, "-9223372036854775809", "9223372036854775808", "1" * 5_000, "0.1", "-0"],
)
async def test_numbers_that_fit_nowhere_are_refused(hostile: Hostile, number: str) -> None:
    """In whatever field stands a number; but -0 is a right one where all that is asked for is how many seconds."""
    refused = {400, 404, 409, 422}
    for route in WITH_BODY:
        assert route.body is not None
        fields = ", ".join(f'"{name}": {number}' for name in route.body.model_fields)
        status = (await hostile.send(route, data="{" + fields + "}")).status
        assert status in refused or (number, route.body) == ("-0", KeyRotation), route.path


@pytest.mark.parametrize("value", ["true", "[]", "{}", "null", '"x"', "[null]", '{"":{"":[]}}'])
async def test_values_of_the_wrong_kind_are_refused(hostile: Hostile, value: str) -> None:
    """In every field; bodies whose fields may all be null are taken with those."""
    for route in WITH_BODY:
        assert route.body is not None
        fields = ", ".join(f'"{name}": {value}' for name in route.body.model_fields)
        answer = await hostile.send(route, data="{" + fields + "}")
        assert answer.status in {400, 404, 409, 422} or value in {"true", "null", "[]", '"x"'}, route.path


async def test_a_key_that_comes_twice_counts_once(hostile: Hostile) -> None:
    """The last one does, for all who read the body here."""
    (route,) = (route for route in WITH_BODY if route.path == "/api/v1/keys")
    answer = await hostile.send(route, data='{"name":"first","name":"second"}')
    assert json.loads(await answer.text())["key"]["name"] == "second"


@pytest.mark.parametrize("text", HOSTILE)
async def test_nothing_hostile_in_a_path_gets_anywhere(hostile: Hostile, text: str) -> None:
    """As it is and encoded: no such thing, or no such path."""
    for route in WITH_VARIABLES:
        for name in route.variables:
            path = hostile.path(route, **{name: quote(text, safe="")})
            answer = await hostile.send(route, path, data=b"{}")
            assert answer.status in {400, 401, 403, 404, 405, 422}, (route.path, text)


@pytest.mark.parametrize("text", HOSTILE)
async def test_nothing_hostile_in_a_query_gets_anywhere(hostile: Hostile, text: str) -> None:
    """Refused, or looked for and not found; never repeated as a header."""
    for route in WITH_QUERY:
        for query in route.query:
            await hostile.send(route, f"{hostile.path(route)}?{query.name}={quote(text, safe='')}")


@pytest.mark.parametrize(
    "query",
    [
        "limit=1&limit=2",
        "limit[]=1",
        "limit[a][b][c][d]=1",
        "&".join(f"a{number}=1" for number in range(500)),
        "limit=%FF%FE",
        "cursor=%ED%A0%80",
        "limit=1;limit=2",
        "=",
        "&&&",
        "?" * 1_000,
        "limit=%D9%A3",
        "limit=1e1",
        "limit=+1",
        "limit=0x1",
        "limit=%00",
        "limit=-1",
        "limit=99999999999999999999999",
    ],
)
async def test_queries_of_strange_shape_break_nothing(hostile: Hostile, query: str) -> None:
    """Names that come twice, nested ones, many, no UTF-8, digits of other scripts."""
    for route in WITH_QUERY:
        await hostile.send(route, f"{hostile.path(route)}?{query}")


@pytest.mark.parametrize(
    "name", ["X-Request-ID", "Idempotency-Key", "Authorization", "X-Worker-Token", "X-Forwarded-For", "If-None-Match"]
)
async def test_headers_of_strange_content_break_nothing(hostile: Hostile, name: str) -> None:
    """They are overlooked or refused, and never sent back but as a sound request id."""
    routes = (ROUTES[0], *(route for route in ROUTES if route.path in LARGE), ROUTES[-1])
    for value, route in itertools.product(STRANGE_HEADERS, routes):
        headers = {"Authorization": f"Bearer {hostile.inhabitants.key}"} | {name: value}
        try:
            answer = await hostile.world.http.request(route.method, hostile.path(route), headers=headers, data=b"{}")
        except ValueError:
            continue  # the client does not send it
        assert answer.status < 500
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answer.headers["X-Request-ID"])
