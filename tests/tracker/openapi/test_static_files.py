"""Files that are served from memory."""

import gzip

import pytest
from aiohttp.test_utils import make_mocked_request
from gpunode_tracker.openapi.static_files import StaticFile, file_reply

FILE = StaticFile.of(b"body { color: red }" * 20, "text/css; charset=utf-8")


def test_a_file_is_sent_as_it_is() -> None:
    """With type, tag and how long it may be kept."""
    reply = file_reply(make_mocked_request("GET", "/"), FILE, max_age_s=60, X_Test="1")
    assert (reply.status, reply.body, reply.headers["Content-Type"]) == (200, FILE.body, "text/css; charset=utf-8")
    assert (reply.headers["ETag"], reply.headers["Cache-Control"]) == (FILE.etag, "public, max-age=60")
    assert (reply.headers["X-Test"], reply.headers["X-Content-Type-Options"]) == ("1", "nosniff")
    assert "Content-Encoding" not in reply.headers


def test_who_takes_it_packed_gets_it_packed() -> None:
    """Under another tag, since its bytes are others; caches keep both."""
    reply = file_reply(make_mocked_request("GET", "/", {"Accept-Encoding": "br, GZIP"}), FILE, max_age_s=60)
    assert isinstance(reply.body, bytes)
    assert gzip.decompress(reply.body) == FILE.body
    assert (reply.headers["Content-Encoding"], reply.headers["Vary"]) == ("gzip", "Accept-Encoding")
    assert reply.headers["ETag"] != FILE.etag


@pytest.mark.parametrize("packing", ["", "gzip"])
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}'])
def test_who_has_it_does_not_get_it_again(packing: str, form: str) -> None:
    """Whatever else they hold."""
    headers = {"Accept-Encoding": packing}
    tag = file_reply(make_mocked_request("GET", "/", headers), FILE, max_age_s=60).headers["ETag"]
    again = make_mocked_request("GET", "/", headers | {"If-None-Match": form.format(tag)})
    reply = file_reply(again, FILE, max_age_s=60)
    assert (reply.status, reply.body, reply.headers["ETag"]) == (304, None, tag)


def test_who_has_another_gets_this_one() -> None:
    """An older version of it, say."""
    request = make_mocked_request("GET", "/", {"If-None-Match": '"other"'})
    assert file_reply(request, FILE, max_age_s=60).status == 200


def test_other_bytes_have_another_tag() -> None:
    """And the same bytes the same one."""
    assert StaticFile.of(b"a", "text/css").etag != StaticFile.of(b"b", "text/css").etag
    assert StaticFile.of(b"a", "text/css") == StaticFile.of(b"a", "text/css")
