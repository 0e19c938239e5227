"""One network for all acceptance tests: a tracker, nodes in three regions, and an account with a key."""

import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from gpunode import InferenceClient
from gpunode_node.control_client import ask_daemon
from gpunode_node.node_folder import NodeFolder
from gpunode_protocol.ledger_entries import LedgerEntry
from gpunode_protocol.signing import WireModel

from tests.acceptance.processes import Daemon, json_of, run_gpunode, wait_until

REGIONS = ("asia", "europe", "america")
MODEL = "smollm2-135m"
MESH_ADDRESSES = ("/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1")
HTTP_TIMEOUT_S = 15.0


def tracker_arguments(listen: str, mesh_addresses: Sequence[str]) -> list[str]:
    """Return the command of a tracker; ``listen``: HOST:PORT, ``mesh_addresses``: multiaddrs."""
    mesh_options = [part for address in mesh_addresses for part in ("--mesh-listen", address)]
    return ["tracker", "start", "--listen", listen, *mesh_options]


@dataclass
class Network:
    """Processes on loopback below one short folder."""

    folder: Path
    tracker: Daemon = field(init=False)
    nodes: dict[str, Daemon] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    def start(self) -> None:
        """Start tracker and nodes, wait for all, make an account."""
        self.tracker = Daemon(tracker_arguments("127.0.0.1:0", MESH_ADDRESSES), self.folder / "tracker")
        run = self.tracker.wait_ready()
        self.url = run["url"]
        # a restarted tracker must be found where it was
        addresses = sorted({address.partition("/p2p/")[0] for address in run["bootstrap"]})
        self.tracker.arguments = tracker_arguments(self.url.removeprefix("http://"), addresses)
        for region in REGIONS:
            self.nodes[region] = self.add_node(region)
        for node in self.nodes.values():
            node.wait_ready()
        self.account = self.tracker_command("create-account", "acceptance")["account"]
        self.api_key = self.tracker_command("create-key", self.account)["api_key"]

    def add_node(
        self, region: str, *options: str, name: str = "", variables: Mapping[str, str] | None = None
    ) -> Daemon:
        """Start one more node; the caller waits for it and stops it. variables: more environment."""
        common = ["--bootstrap", self.url, "--threads", "1", "--model", MODEL, "--heartbeat-interval", "1"]
        arguments = ["start", "--region", region, *common, *options]
        folder = self.folder / (name or f"{region}-{next(self._numbers)}")
        return Daemon(arguments, folder, dict(variables or {}))

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

    def command(self, *arguments: str, state: str = "cli", **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a client's command with this network's tracker and key; ``state``: which client."""
        home = self.folder / state
        home.mkdir(exist_ok=True)
        variables = {"GPUNODE_TRACKER": self.url, "GPUNODE_API_KEY": self.api_key, "GPUNODE_STATE_DIR": str(home)}
        return run_gpunode(*arguments, home=home, **(variables | environment))

    def node_of(self, peer_id: str) -> Daemon:
        """Return the running node with a peer id."""
        return next(node for node in self.nodes.values() if node.run["peer_id"] == peer_id)

    def revive(self, node: Daemon) -> None:
        """Start a node that a test ended, in the same folder, and wait until it serves again."""
        node.start()
        node.wait_ready()

    def repair(self) -> None:
        """Let stopped nodes go on and start those again that have ended, whatever a test did to them."""
        for node in self.nodes.values():
            if node.process.poll() is None:
                node.process.send_signal(signal.SIGCONT)
            else:
                self.revive(node)

    def revive_tracker(self) -> None:
        """Start the tracker that a test ended, and wait until every node has heard of it again."""
        self.tracker.start()
        self.tracker.wait_ready()
        for node in self.nodes.values():
            wait_until(lambda node=node: not status_of(node)["problems"], f"{node.data_dir.name} has no more problems")

    def call(
        self, method: str, path: str, body: WireModel | None = None, *, api_key: str | None = None
    ) -> tuple[int, Any]:
        """Call the tracker's REST interface; return status and JSON."""
        data = body.model_dump_json(exclude_none=True).encode() if body else None
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {api_key or self.api_key}"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=HTTP_TIMEOUT_S) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


def status_of(node: Daemon) -> dict[str, Any]:
    """Return what ``gpunode status`` says, straight from the node's control socket."""
    return ask_daemon(NodeFolder(node.data_dir).control, "status")


def is_idle(node: Daemon) -> bool:
    """Whether the node works on nothing and owes the tracker nothing."""
    status = status_of(node)
    busy = status["jobs_unfinished"] + sum(model["active"] + model["queued"] for model in status["models"])
    return not busy and not any(status["outbox"][state] for state in ("held", "ready", "unwritten"))


def settlements(client: InferenceClient, *, job: str | None = None) -> list[LedgerEntry]:
    """Return the account's newest settlements, newest first; ``job``: of this job only."""
    entries = [own.entry for own in client.ledger_entries(limit=200).entries]
    return [entry for entry in entries if entry.settled and job in {None, entry.settled.job}]


def wait_settled(client: InferenceClient, job: str, deadline_s: float = 30.0) -> list[LedgerEntry]:
    """Return a job's settlements once there is one."""
    return wait_until(lambda: settlements(client, job=job), f"the settlement of job {job}", deadline_s)
