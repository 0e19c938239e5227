"""One network for all acceptance tests: a tracker, nodes in three regions, and an account with a key."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.acceptance.processes import Daemon, json_of, run_gpunode, wait_until

REGIONS = ("asia", "europe", "america")
MODEL = "smollm2-135m"


@dataclass
class Network:
    """Processes on loopback below one short folder."""

    folder: Path
    tracker: Daemon = field(init=False)
    nodes: dict[str, Daemon] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    def start(self) -> None:
        """Start tracker and nodes, wait for all, make an account."""
        mesh_addresses = ("--mesh-listen", "/ip4/127.0.0.1/tcp/0", "--mesh-listen", "/ip4/127.0.0.1/udp/0/quic-v1")
        self.tracker = Daemon(["tracker", "start", "--listen", "127.0.0.1:0", *mesh_addresses], self.folder / "tracker")
        self.url = self.tracker.wait_ready()["url"]
        # a restarted tracker must be found where it was
        self.tracker.arguments[3] = self.url.removeprefix("http://")
        for region in REGIONS:
            self.nodes[region] = self.add_node(region)
        for node in self.nodes.values():
            node.wait_ready()
        self.account = self.tracker_command("create-account", "acceptance")["account"]
        self.api_key = self.tracker_command("create-key", self.account)["api_key"]

    def add_node(self, region: str, *options: str, name: str = "") -> Daemon:
        """Start one more node; the caller waits for it and stops it."""
        arguments = ["start", "--bootstrap", self.url, "--region", region, "--threads", "1", "--model", MODEL, *options]
        return Daemon(arguments, self.folder / (name or f"{region}-{next(self._numbers)}"))

    def stop(self) -> None:
        """End everything that is still running."""
        for node in self.nodes.values():
            node.process.terminate()
        for node in self.nodes.values():
            node.stop()
        self.tracker.stop()

    def tracker_command(self, *arguments: str) -> Any:
        """Run a ``gpunode tracker`` command on the tracker's data."""
        options = ("--json", "--data-dir", str(self.tracker.data_dir))
        return json_of(run_gpunode("tracker", *arguments, *options, home=self.folder))

    def command(self, *arguments: str, state: str = "cli", **options: Any) -> Any:
        """Run a client's command with this network's tracker and key; ``state``: which client."""
        home = self.folder / state
        home.mkdir(exist_ok=True)
        variables = {"GPUNODE_TRACKER": self.url, "GPUNODE_API_KEY": self.api_key, "GPUNODE_STATE_DIR": str(home)}
        return run_gpunode(*arguments, home=home, **variables, **options)

    def node_of(self, peer_id: str) -> Daemon:
        """Return the running node with a peer id."""
        return next(node for node in self.nodes.values() if node.run["peer_id"] == peer_id)

    def revive(self, node: Daemon) -> None:
        """Start a node that a test ended, in the same folder, and wait until it serves again."""
        node.start()
        node.wait_ready()

    def wait_ready_again(self) -> None:
        """Wait until the tracker answers again."""
        wait_until(lambda: self.tracker.wait_ready(), "the tracker is back")
