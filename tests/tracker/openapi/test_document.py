"""The document is valid OpenAPI 3.1 and says of every route what there is to say."""

from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web
from gpunode_protocol.jobs_api import JobProblem
from gpunode_protocol.tracker_api import Problem
from gpunode_tracker.openapi.document import openapi_document, summary_of
from gpunode_tracker.openapi.route import EVENT_STREAM, Auth, Route, SpecialProblem, number
from gpunode_tracker.routes import ROUTES
from openapi_spec_validator import OpenAPIV31SpecValidator


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document of the tracker's routes."""
    return openapi_document(ROUTES)


async def post_thing(_request: web.Request) -> web.Response:
    """POST /things/{job}: keep a thing.

    It stays.
    """
    return web.Response()


def _operation(**described: Any) -> dict[str, Any]:
    route = Route("POST", "/things/{job}", post_thing, **{"reply": None} | described)
    operation: dict[str, Any] = openapi_document([route])["paths"]["/things/{job}"]["post"]
    return operation


def test_it_is_valid(document: dict[str, Any]) -> None:
    """By the specification's own schema, with all references resolved."""
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1.")


def test_it_has_exactly_the_routes(document: dict[str, Any]) -> None:
    """Each once, under an id of its own."""
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {(route.method, route.path) for route in ROUTES}
    ids = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_described(route: Route) -> None:
    """Its handler's docstring names method and path, and says what it does."""
    head = (route.handler.__doc__ or "").partition(": ")[0]
    assert head.partition("?")[0] == f"{route.method} {route.path}"
    assert len(summary_of(route)) > 10
    assert all(query.about.endswith(".") for query in route.query)


def _schemas(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "type" in value and "properties" in value:
            yield value
        for part in value.values():
            yield from _schemas(part)


def test_every_model_says_what_it_is(document: dict[str, Any]) -> None:
    """Schemas of objects have descriptions, and required fields exist."""
    for schema in _schemas(document["components"]["schemas"]):
        assert schema.get("description"), schema
        assert set(schema.get("required", ())) <= set(schema["properties"])


def test_an_operation_tells_what_the_docstring_does() -> None:
    """The first line is its summary, the rest its description; the module is its group."""
    operation = _operation()
    assert (operation["summary"], operation["description"]) == ("Keep a thing.", "It stays.")
    assert (operation["operationId"], operation["tags"]) == ("test_document_post_thing", ["test_document"])


def test_a_variable_of_the_path_has_its_pattern() -> None:
    """It is required, as always; an unknown one is a mistake in the table."""
    (variable,) = _operation()["parameters"]
    assert (variable["name"], variable["in"], variable["required"]) == ("job", "path", True)
    assert variable["schema"]["pattern"].startswith("^[0-9a-f]{8}-")
    with pytest.raises(KeyError, match="nonsense"):
        openapi_document([Route("GET", "/{nonsense}", post_thing, reply=None)])


def test_query_and_headers_are_told() -> None:
    """None of them has to be there."""
    operation = _operation(query=(number("limit", "How many.", highest=5),), headers=("Idempotency-Key",))
    _, limit, key = operation["parameters"]
    assert (limit["name"], limit["in"], limit["required"]) == ("limit", "query", False)
    assert (key["name"], key["in"], key["required"]) == ("Idempotency-Key", "header", False)


def test_a_body_is_required_json() -> None:
    """Only routes that take one have it."""
    body = _operation(body=Problem)["requestBody"]
    schema = {"$ref": "#/components/schemas/Problem-Input"}
    assert body == {"required": True, "content": {"application/json": {"schema": schema}}}
    assert "requestBody" not in _operation()


@pytest.mark.parametrize(
    ("auth", "security"),
    [
        (Auth.NOTHING, []),
        (Auth.OPTIONAL, [{}, {"apiKey": ["admin"]}, {"workerToken": []}]),
        (Auth.KEY, [{"apiKey": ["admin"]}]),
        (Auth.WORKER, [{"workerToken": []}]),
        (Auth.KEY_OR_WORKER, [{"apiKey": ["admin"]}, {"workerToken": []}]),
    ],
)
def test_what_callers_have_to_show_is_told(auth: Auth, security: list[Any]) -> None:
    """The scope that the path needs stands beside the key."""
    assert _operation(auth=auth)["security"] == security


def test_answers_are_told_by_status() -> None:
    """Models as JSON, streams by their media type, nothing as nothing; problems by reference."""
    responses = _operation(reply=Problem, status=201, also={200: EVENT_STREAM, 204: None}, problems=(404,))["responses"]
    assert list(responses["201"]["content"]) == ["application/json"]
    assert list(responses["200"]["content"]) == ["text/event-stream"]
    assert "content" not in responses["204"]
    assert responses["404"] == {"$ref": "#/components/responses/NotFound"}
    assert set(responses) == {"200", "201", "204", "400", "404", "429", "500", "503"}


def test_a_special_problem_is_told_with_its_headers() -> None:
    """As a problem, of its own model."""
    reply = _operation(also={504: SpecialProblem(JobProblem)}, reply_headers={504: ("Location",)})["responses"]["504"]
    schema = {"$ref": "#/components/schemas/JobProblem"}
    assert reply["content"] == {"application/problem+json": {"schema": schema}}
    assert reply["headers"]["Location"] == {"$ref": "#/components/headers/Location"}


def test_the_parameters_of_jobs_are_told(document: dict[str, Any]) -> None:
    """One shape for each type."""
    schemas = document["components"]["schemas"]
    names = ["LlmJobParams", "ImageJobParams", "SpeechJobParams", "EmbeddingJobParams"]
    shapes = schemas["JobSubmission"]["properties"]["params"]["anyOf"]
    assert shapes == [{"$ref": f"#/components/schemas/{name}"} for name in names]
    assert schemas["ImageJobParams"]["properties"]["size"]["anyOf"][0]["pattern"] == "^[0-9]{1,5}[xX][0-9]{1,5}$"


def test_parameters_of_jobs_may_be_null(document: dict[str, Any]) -> None:
    """That counts as left out, so it may not be where something has to be there."""
    chat = document["components"]["schemas"]["LlmJobParams"]
    assert {"type": "null"} in chat["properties"]["stop"]["anyOf"]
    assert chat["properties"]["seed"]["anyOf"].count({"type": "null"}) == 1
    assert "anyOf" not in chat["properties"]["messages"]


def test_headers_of_answers_are_told(document: dict[str, Any]) -> None:
    """All have an id; those that ask to come back say when."""
    usual = {"X-Request-ID", "RateLimit", "RateLimit-Policy"}
    for path in document["paths"].values():
        for operation in path.values():
            assert all("$ref" in reply or usual <= set(reply["headers"]) for reply in operation["responses"].values())
    replies = document["components"]["responses"]
    assert all(usual <= set(reply["headers"]) for reply in replies.values())
    assert {name for name, reply in replies.items() if "Retry-After" in reply["headers"]} == {
        "TooManyRequests",
        "ServiceUnavailable",
    }
    assert "WWW-Authenticate" in replies["Unauthorized"]["headers"]
