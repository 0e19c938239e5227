"""The real process: ready, reachable, stopped cleanly."""

import asyncio
import json
import os
import resource
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from gpunode_protocol import tracker_api as api
from gpunode_tracker import daemon
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.limits import Limits
from gpunode_tracker.run_file import RunInfo, read_run_file

from tests.tracker.certificates import self_signed

START_TIMEOUT_S = 60


@asynccontextmanager
async def running(data_dir: Path, *arguments: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, RunInfo]]:
    """Start a tracker and wait until it says that it is ready."""
    command = [sys.executable, "-m", "gpunode", "--log", "json", "tracker", "start", "--listen", "127.0.0.1:0"]
    process = await asyncio.create_subprocess_exec(
        *command, "--data-dir", str(data_dir), *arguments, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            await _until(process, "tracker_ready")
        info = read_run_file(data_dir)
        assert info is not None
        yield process, info
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _until(process: asyncio.subprocess.Process, event: str) -> None:
    assert process.stderr is not None
    lines = []
    async for line in process.stderr:
        lines.append(line.decode())
        if json.loads(line).get("event") == event:
            return
    pytest.fail("".join(lines))


async def _get(url: str, context: ssl.SSLContext | bool = True) -> Any:
    async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as response:
        return await response.json()


async def test_sigterm_stops_it_cleanly(tmp_path: Path) -> None:
    """It serves, writes run.json, and at SIGTERM exits 0 and takes the file away; the network stays."""
    networks = set()
    for number in (signal.SIGTERM, signal.SIGINT):
        async with running(tmp_path, "--no-mesh") as (process, info):
            assert info.pid == process.pid
            networks.add((await _get(info.url + api.NETWORK_PATH))["network"])
            process.send_signal(number)
            async with asyncio.timeout(20):
                assert await process.wait() == 0
        assert not (tmp_path / "run.json").exists()
    assert networks == {info.network}


async def test_the_mesh_may_die(tmp_path: Path) -> None:
    """It is the bootstrap peer; without its p2pd HTTP goes on working, and no p2pd outlives it."""
    async with running(tmp_path, "--mesh-listen", "/ip4/127.0.0.1/tcp/0") as (process, info):
        assert info.bootstrap
        assert all(address.endswith(f"/p2p/{info.peer_id}") for address in info.bootstrap)
        assert (await _get(info.url + api.NETWORK_PATH))["bootstrap"] == list(info.bootstrap)
        daemons = [child for child in psutil.Process(process.pid).children(recursive=True) if "p2pd" in child.name()]
        assert daemons
        for daemon in daemons:
            daemon.kill()
        assert (await _get(info.url + api.READY_PATH))["status"] == "ready"
        process.terminate()
        async with asyncio.timeout(30):
            assert await process.wait() == 0
    _, alive = psutil.wait_procs(daemons, timeout=5)
    assert alive == []


async def test_tls(tmp_path: Path) -> None:
    """With certificate and key it speaks TLS."""
    certificate, key = self_signed(tmp_path)
    options = ("--no-mesh", "--tls-cert", str(certificate), "--tls-key", str(key))
    async with running(tmp_path / "data", *options) as (_, info):
        assert info.url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(certificate))
        assert await _get(info.url + api.HEALTH_PATH, context) == {"status": "ok"}
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await _get(info.url + api.HEALTH_PATH)


async def test_an_unusable_certificate(tmp_path: Path) -> None:
    """One line says which file, and nothing is started."""
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    assert str(bad) in await _failure(tmp_path / "d", "--no-mesh", "--tls-cert", str(bad), "--tls-key", str(bad))
    assert not (tmp_path / "d" / "run.json").exists()


async def test_a_second_tracker_on_the_same_folder(tmp_path: Path) -> None:
    """It is refused, and the first one goes on."""
    async with running(tmp_path, "--no-mesh") as (_, info):
        assert "Another tracker runs" in await _failure(tmp_path, "--no-mesh")
        assert (await _get(info.url + api.HEALTH_PATH))["status"] == "ok"
        assert read_run_file(tmp_path) == info


async def test_a_taken_mesh_port(tmp_path: Path) -> None:
    """p2pd would share it with the other program; one line says what to do instead."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        message = await _failure(tmp_path, "--mesh-listen", f"/ip4/127.0.0.1/tcp/{port}")
    assert f"Port {port} is in use by another program." in message
    assert not (tmp_path / "run.json").exists()


async def _failure(data_dir: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "gpunode", "--log-level", "error", "tracker", "start", "--listen", "127.0.0.1:0"]
    process = await asyncio.create_subprocess_exec(
        *command, "--data-dir", str(data_dir), *arguments, stderr=asyncio.subprocess.PIPE, env=os.environ
    )
    _, text = await asyncio.wait_for(process.communicate(), START_TIMEOUT_S)
    assert process.returncode == 1
    assert len(text.splitlines()) == 1, text.decode()
    return text.decode()


def test_as_many_connections_as_the_system_allows() -> None:
    """The soft limit of open files, 1,024 on most systems, is raised to the hard one."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1]), before[1]))
        daemon.raise_open_files_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_no_more_connections_than_open_files(caplog: pytest.LogCaptureFixture) -> None:
    """Where the system allows fewer open files, fewer connections are taken, and the log says what to do."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    settings = TrackerSettings.load({"limits": Limits(connections=600)})
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1_024, before[1]), before[1]))
        assert daemon.possible_limits(settings).connections == 512
        assert "ulimit -n" in caplog.text
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1_200, before[1]), before[1]))
        assert daemon.possible_limits(settings).connections == 600
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_a_taken_http_port(tmp_path: Path) -> None:
    """One line says what to do."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        message = await _failure(tmp_path, "--no-mesh", "--listen", f"127.0.0.1:{port}")
    assert f"cannot listen on 127.0.0.1:{port}" in message
    assert "--listen HOST:PORT" in message
