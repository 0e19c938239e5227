import asyncio
import json
from pathlib import Path

from aiohttp.test_utils import TestClient, TestServer
from gpunode_benchmarks.tracker.bare_server import RUN_FILE, bare_app, serve
from gpunode_benchmarks.tracker.http_line import http_line, request_bytes
from gpunode_benchmarks.tracker.server_process import ServerProcess


async def test_each_path_has_its_bytes() -> None:
    """Whatever the query says."""
    async with TestClient(TestServer(bare_app({"/a": b"one", "/b": b"two"}))) as client:
        assert [await (await client.get(path)).read() for path in ("/a", "/b?x=y")] == [b"one", b"two"]


async def test_it_says_where_it_listens(tmp_path: Path) -> None:
    """In the file by which processes are found."""
    serving = asyncio.create_task(serve(tmp_path, {"/a": b"one"}))
    async with asyncio.timeout(10):
        while not (tmp_path / RUN_FILE).exists():  # noqa: ASYNC110 -- a file rings no bell
            await asyncio.sleep(0)
    server = ServerProcess.of_run_file(json.loads((tmp_path / RUN_FILE).read_text(encoding="utf-8")))
    async with http_line(server.address) as line:
        assert await line.ask(request_bytes("GET", "/a")) == b"one"
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
