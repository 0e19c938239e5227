"""The page loads what is served beside it, and nothing else."""

import hashlib
import re

import pytest
from gpunode_tracker.openapi.docs_page import CONTENT_SECURITY_POLICY, PAGE, docs_assets, docs_page

UPSTREAM = {
    "swagger-ui.css": "9e576f8322132c76949da47f9bb53c891373c303ea3a761ff548ffc9de50a98c",
    "swagger-ui-bundle.js": "93b7b0862a80e2786f85b560be7693c2344354ffa7e7e224f850a54349724c31",
}
"""SHA-256 of the files in npm's swagger-ui-dist 5.31.0."""


@pytest.mark.parametrize("name", UPSTREAM)
def test_the_files_are_swagger_ui_s_own(name: str) -> None:
    """To the byte; others, such as those of a package that writes to the same folder, are not."""
    assert hashlib.sha256(docs_assets()[name].body).hexdigest() == UPSTREAM[name]


def test_the_page_loads_only_what_is_served() -> None:
    """Addresses are relative, so that it works below a proxy's path too."""
    loaded = re.findall(r'(?:src|href)="([^"]*)"', PAGE)
    assert set(loaded) == {f"docs/assets/{name}" for name in docs_assets()} | {"openapi.json"}
    assert docs_page().body.decode() == PAGE


def test_nothing_of_the_page_is_inline() -> None:
    """The policy would not let it run."""
    assert not re.search(r"<script(?![^>]* src=)|<style|style=|\son\w+=", PAGE)
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY


def test_the_page_asks_nobody_else() -> None:
    """Not Swagger's validator either; keys are not kept."""
    start = docs_assets()["start.js"].body.decode()
    assert "validatorUrl: null" in start
    assert "persistAuthorization: false" in start
    assert "//" not in re.sub(r"^//.*", "", start)
