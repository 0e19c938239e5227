"""The OpenAPI document and its page, over HTTP."""

import json

import pytest
from gpunode_tracker.openapi.document import openapi_document
from gpunode_tracker.routes import DOCS_PATH, OPENAPI_PATH, ROUTES
from yarl import URL

from tests.tracker.conftest import World


async def test_the_document_is_that_of_the_routes(world: World) -> None:
    """As JSON, for pages of other addresses too."""
    answer = await world.http.get(OPENAPI_PATH)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert json.loads(await answer.read()) == openapi_document(ROUTES)


async def test_the_page_is_html_under_a_strict_policy(world: World) -> None:
    """Nothing from elsewhere, and in nobody's frame."""
    answer = await world.http.get(DOCS_PATH)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("swagger-ui.css", "text/css; charset=utf-8"),
        ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("start.js", "text/javascript; charset=utf-8"),
        ("favicon-32x32.png", "image/png"),
    ],
)
async def test_parts_of_the_page_have_their_types(world: World, name: str, kind: str) -> None:
    """And are kept by browsers for a day."""
    answer = await world.http.get(f"/docs/assets/{name}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
    assert answer.headers["Cache-Control"] == "public, max-age=86400"
    again = await world.http.get(f"/docs/assets/{name}", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status, await again.read()) == (304, b"")


@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        "swagger-ui-bundle.js.map",
        "..%2F..%2F__init__.py",
        "%2E%2E%2Fswagger-ui.css",
        "..%5C..%5Cx",
        "swagger-ui.css%00",
        "%2Fetc%2Fpasswd",
        "",
    ],
)
async def test_no_other_file_is_served(world: World, name: str) -> None:
    """Neither the package's others nor any outside of it."""
    answer = await world.http.get(URL(f"/docs/assets/{name}", encoded=True))
    assert (answer.status, answer.content_type) == (404, "application/problem+json")
