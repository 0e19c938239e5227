"""Downloads that break: killed processes, cut connections, full disks."""

import asyncio
import sys
from pathlib import Path

import httpx2
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.errors import DownloadFailed
from gpunode_engines.fetch import locate, pull
from gpunode_engines.hub_download import PARTIAL_FOLDER, RangeDownload, partial_path
from gpunode_engines.model_lock import ModelLock
from gpunode_engines.remotes import choose_remote
from huggingface_hub.errors import HfHubHTTPError

from tests.node.dripping_hub import COMMIT, CONTENT, SENT_BYTES, dripping_hub

QWEN = resolve_model("qwen2.5-0.5b")
PULL = """
import sys
from pathlib import Path
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.fetch import pull
from gpunode_engines.remotes import HubRemote

class Printed:
    def add_task(self, description, *, total): return 0
    def update(self, task_id, *, completed, total): print(completed, flush=True)

pull(resolve_model("qwen2.5-0.5b"), Path(sys.argv[2]), HubRemote(sys.argv[1], Printed()))
"""


async def test_a_killed_pull_goes_on_where_it_was(tmp_path: Path) -> None:
    """SIGKILL in the middle of a file: the next process asks for the rest only, and the whole has the right digest."""
    ranges: list[str] = []
    async with dripping_hub(QWEN, ranges) as hub:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PULL, hub, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        assert child.stdout is not None
        async for line in child.stdout:
            if int(line) >= SENT_BYTES:
                break
        child.kill()
        await child.wait()
        assert ModelLock(tmp_path).get(QWEN.stored_as) is None
        assert ranges == []
        kept = sum(file.stat().st_size for file in (tmp_path / QWEN.stored_as / PARTIAL_FOLDER).iterdir())
        await asyncio.to_thread(pull, QWEN, tmp_path, choose_remote(hub))
    assert 0 < kept <= SENT_BYTES  # what a file's buffer held went with the process
    assert ranges == [f"bytes={kept}-"]
    assert locate(QWEN, tmp_path)[0].read_bytes() == CONTENT
    assert not (tmp_path / QWEN.stored_as / PARTIAL_FOLDER).exists()


def _download(server: TestServer, folder: Path, sleeps: list[float] | None = None) -> RangeDownload:
    watch: list[tuple[int, int | None]] = []
    pause = (sleeps if sleeps is not None else []).append
    return RangeDownload(
        str(server.make_url("/file")), folder / "file", folder / "part", lambda *at: watch.append(at), sleep=pause
    )


def _server(handler: object) -> TestServer:
    app = web.Application()
    app.router.add_get("/file", handler)  # type: ignore[arg-type]  # -- a coroutine function
    return TestServer(app)


async def test_a_broken_connection_is_taken_up_again(tmp_path: Path) -> None:
    """Without loss, and without repeating anything."""
    asked: list[str | None] = []

    async def drop_after_three(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("Range"))
        start = int((asked[-1] or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        response = web.StreamResponse(status=206 if start else 200, headers={"Content-Length": str(9 - start)})
        await response.prepare(request)
        await response.write(b"123456789"[start : start + 3])
        assert request.transport is not None
        request.transport.close()
        return response

    async with _server(drop_after_three) as server:
        path = await asyncio.to_thread(_download(server, tmp_path).run)
    assert path.read_bytes() == b"123456789"
    assert asked == [None, "bytes=3-", "bytes=6-"]


async def test_a_connection_that_brings_nothing_is_given_up(tmp_path: Path) -> None:
    """After several attempts, with growing pauses."""
    sleeps: list[float] = []

    async def drop(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.StreamResponse()

    async with _server(drop) as server:
        with pytest.raises(httpx2.TransportError):
            await asyncio.to_thread(_download(server, tmp_path, sleeps).run)
    assert sleeps == [1.0, 2.0, 4.0, 8.0, 16.0]


async def test_a_server_without_ranges_starts_anew(tmp_path: Path) -> None:
    """What was here is replaced, not added to."""
    (tmp_path / "part").write_bytes(b"old and longer than the file")

    async def whole(_: web.Request) -> web.Response:
        return web.Response(body=b"new")

    async with _server(whole) as server:
        path = await asyncio.to_thread(_download(server, tmp_path).run)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(("here", "asked"), [(b"123", 1), (b"12345", 2)])
async def test_a_part_that_is_whole_or_too_long(tmp_path: Path, here: bytes, asked: int) -> None:
    """The first is taken, the other one downloaded anew."""
    (tmp_path / "part").write_bytes(here)
    requests: list[str | None] = []

    async def three(request: web.Request) -> web.Response:
        requests.append(request.headers.get("Range"))
        if requests[-1]:
            return web.Response(status=416, headers={"Content-Range": "bytes */3"})
        return web.Response(body=b"123")

    async with _server(three) as server:
        path = await asyncio.to_thread(_download(server, tmp_path).run)
    assert (path.read_bytes(), len(requests)) == (b"123", asked)


async def test_another_piece_than_was_asked_for_is_not_put_in_its_place(tmp_path: Path) -> None:
    """Some caches answer with the piece that they have; the file is begun anew."""
    (tmp_path / "part").write_bytes(b"123")

    async def wrong_piece(request: web.Request) -> web.Response:
        if request.headers.get("Range"):
            return web.Response(status=206, body=b"1234", headers={"Content-Range": "bytes 0-3/6"})
        return web.Response(body=b"123456")

    async with _server(wrong_piece) as server:
        path = await asyncio.to_thread(_download(server, tmp_path).run)
    assert path.read_bytes() == b"123456"


async def test_a_refusal_is_not_tried_again(tmp_path: Path) -> None:
    """It is the caller's to explain."""

    async def gone(_: web.Request) -> web.Response:
        raise web.HTTPNotFound

    async with _server(gone) as server:
        with pytest.raises(HfHubHTTPError):
            await asyncio.to_thread(_download(server, tmp_path).run)


async def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """The kernel's own error; the part is deleted, and no file pretends to be whole."""
    (tmp_path / "part").symlink_to("/dev/full")

    async def much(_: web.Request) -> web.Response:
        return web.Response(body=bytes(3 * 1024 * 1024))

    async with _server(much) as server:
        with pytest.raises(DownloadFailed, match=r"is full.*GPUNODE_MODELS_DIR"):
            await asyncio.to_thread(_download(server, tmp_path).run)
    assert list(tmp_path.iterdir()) == []


async def test_a_disk_that_fills_during_a_pull(tmp_path: Path) -> None:
    """Nothing of the model is recorded or served; when there is room again, a pull brings it."""
    folder = tmp_path / QWEN.stored_as
    async with dripping_hub(QWEN) as hub:
        remote = choose_remote(hub)
        _, (file,) = await asyncio.to_thread(remote.files, "Qwen/Qwen2.5-0.5B-Instruct-GGUF", None)
        partial = partial_path(folder, COMMIT, file.name)
        partial.parent.mkdir(parents=True)
        partial.symlink_to("/dev/full")
        with pytest.raises(DownloadFailed, match=r"is full.*pull again"):
            await asyncio.to_thread(pull, QWEN, tmp_path, remote)
        assert ModelLock(tmp_path).get(QWEN.stored_as) is None
        assert list(partial.parent.iterdir()) == list(folder.glob("*.gguf")) == []
        partial.write_bytes(CONTENT[:SENT_BYTES])
        (path,) = await asyncio.to_thread(pull, QWEN, tmp_path, remote)
    assert path.read_bytes() == CONTENT
