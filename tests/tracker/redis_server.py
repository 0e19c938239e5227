"""A real Redis server of a test's own, on a Unix socket, which can be stopped, killed and started again."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

START_TIMEOUT_S: Final = 30


class RedisServer:
    """One server process at a time; nothing is kept on disk."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="gpnr-"))  # a test's folder is too deep for a socket's path
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For ``redis_url``."""
        return f"unix://{self._socket}"

    @property
    def _socket(self) -> Path:
        return self._folder / "r.sock"

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    async def start(self) -> None:
        """Start it and wait until it answers."""
        command = ["redis-server", "--port", "0", "--unixsocket", str(self._socket), "--save", "", "--appendonly", "no"]
        command += ["--dir", str(self._folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: ASYNC220 -- a fork takes no time
        async with asyncio.timeout(START_TIMEOUT_S), Redis.from_url(self.url) as client:
            while True:
                try:
                    await client.ping()
                except RedisError:
                    await asyncio.sleep(0.01)
                else:
                    return

    def kill(self) -> None:
        """End it at once; what it kept is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        """Let it take connections and answer nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it answer again."""
        self._signal(signal.SIGCONT)

    def remove(self) -> None:
        """End it and take its folder away."""
        self.kill()
        shutil.rmtree(self._folder)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


def require_redis() -> None:
    """Skip a test where no Redis is installed."""
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
