"""A tracker to be flooded."""

import itertools
from pathlib import Path

import psutil
from gpunode_protocol import tracker_api as api

from tests.acceptance.http_peer import HttpPeer
from tests.acceptance.processes import Daemon


class FloodTarget:
    """A tracker that is flooded, and clients of it, each with an address that no other test uses."""

    def __init__(self, folder: Path) -> None:
        arguments = ["tracker", "start", "--listen", "127.0.0.1:0", "--no-mesh", "--open-registration"]
        self.daemon = Daemon(arguments, folder / "tracker")
        self.url = self.daemon.wait_ready()["url"]
        self._numbers = itertools.count()
        self._peers: list[HttpPeer] = []

    def peer(self) -> HttpPeer:
        """Return a client at a new address."""
        number = next(self._numbers)
        peer = HttpPeer(self.url, f"127.1.{number // 250}.{number % 250 + 1}")
        self._peers.append(peer)
        return peer

    def close_peers(self) -> None:
        """Close the clients."""
        while self._peers:
            self._peers.pop().close()

    def key(self) -> str:
        """Return the key of a new account."""
        answer = self.peer().ask("POST", api.ACCOUNTS_PATH, api.AccountRequest(name="x").model_dump_json().encode())
        return api.AccountReply.model_validate_json(answer.body).api_key

    def memory_bytes(self) -> int:
        """Return what is resident of the tracker."""
        resident: int = psutil.Process(self.daemon.run["pid"]).memory_info().rss
        return resident

    def rejected(self, reason: str) -> float:
        """Return how often the tracker has turned something away for a reason, by its own count."""
        text = self.peer().ask("GET", "/metrics").body.decode()
        name = f'gpunode_tracker_rejected_total{{reason="{reason}"}} '
        return sum(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))
