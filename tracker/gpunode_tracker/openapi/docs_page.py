"""The page that shows the document: Swagger UI, with nothing from elsewhere."""

from collections.abc import Mapping
from functools import cache
from typing import Final

from swagger_ui_bundle import swagger_ui_path

from gpunode_tracker.openapi.static_files import StaticFile

PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>gpunode tracker: API</title>
<link rel="icon" href="docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
</head>
<body>
<main id="docs"></main>
<noscript>This page needs JavaScript. Without it, read <a href="openapi.json">the OpenAPI document</a>.</noscript>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script src="docs/assets/start.js"></script>
</body>
</html>
"""

_START: Final = """// The document is asked of no validator elsewhere, and keys are not kept in the browser.
window.addEventListener("load", () => {
  SwaggerUIBundle({
    dom_id: "#docs",
    url: "openapi.json",
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    deepLinking: true,
    displayRequestDuration: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    persistAuthorization: false,
    validatorUrl: null,
  });
});
"""

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",  # Swagger UI styles some elements from its script, which this does not touch
        "img-src 'self' data:",  # its stylesheet holds its icons
        "connect-src 'self'",  # the document, and what is tried out
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

_JAVASCRIPT: Final = "text/javascript; charset=utf-8"
_BUNDLED: Final = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": _JAVASCRIPT,
    "favicon-32x32.png": "image/png",
}


@cache
def docs_page() -> StaticFile:
    """Return the page."""
    return StaticFile.of(PAGE.encode(), "text/html; charset=utf-8")


@cache
def docs_assets() -> Mapping[str, StaticFile]:
    """Return what the page loads, by name. There are no others, so no name leads to another file."""
    bundled = {name: StaticFile.of((swagger_ui_path / name).read_bytes(), kind) for name, kind in _BUNDLED.items()}
    return bundled | {"start.js": StaticFile.of(_START.encode(), _JAVASCRIPT)}
