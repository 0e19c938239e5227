"""The OpenAPI document, and the page that shows it. Both work without anything from elsewhere."""

from typing import Final

from aiohttp import web

from gpunode_tracker.app_keys import OPENAPI
from gpunode_tracker.errors import NotFound
from gpunode_tracker.openapi.docs_page import CONTENT_SECURITY_POLICY, docs_assets, docs_page
from gpunode_tracker.openapi.static_files import file_reply

DOCUMENT_MAX_AGE_S: Final = 60
ASSET_MAX_AGE_S: Final = 24 * 3600
"""They change with a new version only, and then the page works with the old ones for a day too."""


async def get_openapi(request: web.Request) -> web.Response:
    """GET /openapi.json: this document."""
    # any page may show it: there is nothing in it that is not in the source
    return file_reply(request, request.app[OPENAPI], max_age_s=DOCUMENT_MAX_AGE_S, Access_Control_Allow_Origin="*")


async def get_docs(request: web.Request) -> web.Response:
    """GET /docs: the page that shows the document and tries calls out."""
    return file_reply(
        request,
        docs_page(),
        max_age_s=DOCUMENT_MAX_AGE_S,
        Content_Security_Policy=CONTENT_SECURITY_POLICY,
        Referrer_Policy="no-referrer",
    )


async def get_docs_asset(request: web.Request) -> web.Response:
    """GET /docs/assets/{asset}: what that page loads."""
    file = docs_assets().get(request.match_info["asset"])
    if file is None:
        raise NotFound("The page of the API's documentation has no such part. The page is at /docs.")
    return file_reply(request, file, max_age_s=ASSET_MAX_AGE_S)
