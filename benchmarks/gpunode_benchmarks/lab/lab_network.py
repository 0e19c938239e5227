"""A network of gpunode in a lab: a tracker and an account on one host, nodes on others. Clients are calls of the bench.

lab = Lab.start("clouds", world, preload=PRELOAD)
with LabNetwork(lab, tracker_host="virginia-1") as network:
    network.start_nodes(["tokyo-1", "frankfurt-1"], paced_model(20))
    answer = lab.call("london-1", "my_bench:ask", **network.client_of("london-1"))
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from gpunode_node.control_client import ask_daemon
from gpunode_node.node_folder import NodeFolder

from gpunode_benchmarks.lab.errors import LabFailed
from gpunode_benchmarks.lab.lab import Lab
from gpunode_benchmarks.lab.light_host import RUN_FILE
from gpunode_benchmarks.lab.program import Program
from gpunode_benchmarks.overhead_engines import Pace

PRELOAD: Final = (
    "gpunode.async_client",
    "gpunode_benchmarks.lab.light_host",
    "gpunode_benchmarks.overhead_node",
    "gpunode_protocol.mesh._hivemind",  # what the mesh imports when it starts: the dearest part
)
"""What a lab imports once for all nodes and clients."""

_HTTP_PORT: Final = 8470
_START_TIMEOUT_S: Final = 90.0
_COMMAND_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.05
_TRACKER_FOLDER: Final = "t"  # short, as all of them: Unix sockets lie below
_NODE_FOLDER: Final = "n"
_LIGHT_FOLDER: Final = "l"
_CLIENT_FOLDER: Final = "c"
_NODE_CALL: Final = "gpunode_benchmarks.overhead_node:main"
_EXPOSURE_CREDITS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class LabNode:
    """A running node. run: what it says of itself when it is ready, ``peer_id`` among it."""

    host: str
    program: Program
    run: dict[str, Any]


class LabNetwork:
    """Starts with the ``with`` block and ends with it.

    Args:
        lab: started, best with ``PRELOAD``.
        tracker_host: where the tracker runs, plain HTTP: nobody is in between in a lab.
    """

    def __init__(self, lab: Lab, tracker_host: str) -> None:
        self.lab = lab
        self._tracker_host = tracker_host
        self._stack = ExitStack()
        self.nodes: dict[str, LabNode] = {}
        self.api_key = ""
        self.url = f"http://{lab.world.address_of(tracker_host)}:{_HTTP_PORT}"

    def __enter__(self) -> Self:
        """Start tracker and account.

        Raises:
            LabFailed: one of them failed; the message has its last words.
        """
        with self._stack:
            folder = self.lab.folder_of(self._tracker_host) / _TRACKER_FOLDER
            common = ["--data-dir", str(folder)]
            listen = self.url.removeprefix("http://")
            tracker = self._gpunode("tracker", "start", *common, "--listen", listen, "--insecure")
            self._stack.enter_context(tracker)
            _wait_ready([(tracker, folder)])
            account = self._ask_tracker("create-account", "lab", "--json", *common)["account"]
            self.api_key = str(self._ask_tracker("create-key", account, "--json", *common)["api_key"])
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_nodes(
        self,
        hosts: Sequence[str],
        *models: str,
        paces: Mapping[str, Pace] | None = None,
        node_call: str = _NODE_CALL,
        **settings: Any,
    ) -> list[LabNode]:
        """Start a whole node on each host and wait until all are ready.

        Args:
            hosts: where; each has one node at most.
            models: names of the catalogue, or paced ones.
            paces: of paced engines whose names do not tell it, by host.
            node_call: what runs them; takes ``overhead_node``'s order.
            settings: of ``NodeSettings``, beside those that a lab needs.

        Raises:
            LabFailed: one failed.
        """
        started = []
        for host in hosts:
            folder = self.lab.folder_of(host) / _NODE_FOLDER
            order = {
                "bootstrap": self.url,
                "insecure": True,
                "model": list(models),
                "region": self.lab.world.region_of(host),
                "country": self.lab.world.place_of(host).country,
                "data_dir": str(folder),
                "engine_threads": 1,
                "engine_gpu": False,
                "exposure_credits": _EXPOSURE_CREDITS,
            }
            socket = str(self.lab.folder_of(host) / "direct.sock")
            call: dict[str, Any] = {"settings": order | settings, "socket": socket}
            if paces is not None:
                call["pace"] = asdict(paces[host])
            program = self.lab.begin(host, node_call, order=call)
            started.append((host, self._stack.enter_context(program), folder))
        return self._add(started)

    def start_light_nodes(self, hosts: Sequence[str]) -> list[LabNode]:
        """Start a light node on each host, which is found and probed but serves nothing; see ``start_nodes``.

        Raises:
            LabFailed: one failed.
        """
        started = []
        for host in hosts:
            folder = self.lab.folder_of(host) / _LIGHT_FOLDER
            region = self.lab.world.region_of(host)
            call = "gpunode_benchmarks.lab.light_host:serve"
            program = self.lab.begin(host, call, url=self.url, region=region, folder=str(folder))
            started.append((host, self._stack.enter_context(program), folder))
        return self._add(started)

    def status_of(self, host: str) -> dict[str, Any]:
        """Return what a host's whole node says of itself, as ``gpunode status --json`` does."""
        return ask_daemon(NodeFolder(self.lab.folder_of(host) / _NODE_FOLDER).control, "status")

    def client_of(self, host: str) -> dict[str, Any]:
        """Return arguments of ``AsyncInferenceClient`` for a client on a host; ``state_dir`` is a text."""
        return {
            "tracker": self.url,
            "api_key": self.api_key,
            "insecure": True,
            "region": self.lab.world.region_of(host),
            "state_dir": str(self.lab.folder_of(host) / _CLIENT_FOLDER),
        }

    def _add(self, started: Sequence[tuple[str, Program, Path]]) -> list[LabNode]:
        runs = _wait_ready([(program, folder) for _, program, folder in started])
        nodes = [LabNode(host, program, run) for (host, program, _), run in zip(started, runs, strict=True)]
        self.nodes |= {node.host: node for node in nodes}
        return nodes

    def _gpunode(self, *arguments: str) -> Program:
        return self.lab.launch(self._tracker_host, [sys.executable, "-m", "gpunode", *arguments])

    def _ask_tracker(self, *arguments: str) -> dict[str, Any]:
        with self._gpunode("tracker", *arguments) as program:
            if program.wait(_COMMAND_TIMEOUT_S) != 0:
                raise LabFailed(f"The tracker's operator was refused:\n{program.last_words()}")
            answer: dict[str, Any] = json.loads(program.log.read_text(encoding="utf-8"))
        return answer


def _wait_ready(started: Sequence[tuple[Program, Path]]) -> list[dict[str, Any]]:
    """Wait until each program has written its run file; return their contents."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    for program, folder in started:
        while not (folder / RUN_FILE).exists():
            if program.exit_code is not None:
                raise LabFailed(f"{program.host}: {folder.name} ended early. Its last words:\n{program.last_words()}")
            if time.monotonic() > deadline:
                raise LabFailed(
                    f"{program.host}: {folder.name} was not ready in {_START_TIMEOUT_S:.0f} s. Close other programs "
                    f"or use fewer hosts. Its last words:\n{program.last_words()}"
                )
            time.sleep(_POLL_S)
    return [json.loads((folder / RUN_FILE).read_text(encoding="utf-8")) for _, folder in started]
