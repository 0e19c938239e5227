"""Routes say which answers can come."""

from enum import StrEnum

import pytest
from aiohttp import web
from gpunode_protocol.tracker_api import Problem
from gpunode_tracker.openapi.route import Auth, Route, choice, limit, number, text


class Colour(StrEnum):
    """Something to choose from."""

    RED = "red"
    BLUE = "blue"


async def _handler(_request: web.Request) -> web.Response:
    return web.Response()


def test_variables_are_those_of_the_path() -> None:
    """In order."""
    assert Route("GET", "/a/{b}/c/{d}", _handler, reply=None).variables == ("b", "d")


@pytest.mark.parametrize(
    ("route", "statuses"),
    [
        (Route("GET", "/", _handler, reply=None), (400, 429, 500, 503)),
        (Route("GET", "/", _handler, reply=None, problems=(404,)), (400, 404, 429, 500, 503)),
        (Route("POST", "/", _handler, reply=None, body=Problem), (400, 408, 413, 422, 429, 500, 503)),
        (Route("GET", "/", _handler, reply=None, auth=Auth.OPTIONAL), (400, 429, 500, 503)),
        (Route("GET", "/", _handler, reply=None, auth=Auth.WORKER), (400, 401, 403, 429, 500, 503)),
        (Route("GET", "/", _handler, reply=None, query=(text("q", "Words."),)), (400, 422, 429, 500, 503)),
    ],
)
def test_problems_follow_from_what_a_route_takes(route: Route, statuses: tuple[int, ...]) -> None:
    """What a body, a query or a key can be wrong about is not to be said again for every route."""
    assert route.problem_statuses == statuses


def test_replies_are_by_status() -> None:
    """The usual success stands beside the others."""
    route = Route("POST", "/", _handler, reply=Problem, status=201, also={200: None})
    assert route.replies == {201: Problem, 200: None}


def test_query_parameters_have_schemas() -> None:
    """Numbers with their range, names, text with its limits; empty is as good as left out."""
    assert number("n", "Count.", highest=7).schema == {"type": "integer", "minimum": 0, "maximum": 7}
    assert limit("Things", 3, highest=7).schema == {"type": "integer", "minimum": 1, "maximum": 7, "default": 3}
    assert choice("c", "Which.", Colour).schema == {"type": "string", "enum": ["red", "blue", ""]}
    assert text("t", "Words.").schema == {"type": "string"}
    assert text("t", "Words.", pattern="^a", max_chars=3).schema == {
        "type": "string",
        "pattern": "^$|^a",
        "maxLength": 3,
    }


def test_what_is_required_is_not_empty() -> None:
    """Nor left out."""
    assert choice("c", "Which.", Colour, required=True).schema == {"type": "string", "enum": ["red", "blue"]}
    words = text("t", "Words.", pattern="^a", required=True)
    assert words.required
    assert words.schema == {"type": "string", "minLength": 1, "pattern": "^a"}
