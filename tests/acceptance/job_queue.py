"""A network without a mesh for acceptance tests: a tracker with its queue and pull workers; plain HTTP throughout."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpunode_node.control_client import ask_daemon
from gpunode_node.node_folder import NodeFolder
from gpunode_protocol.jobs_api import JOB_EVENTS_PATH, JOB_PATH, JOBS_PATH
from gpunode_protocol.tracker_api import BALANCE_PATH, RECEIPT_PATH

from tests.acceptance.network import MODEL
from tests.acceptance.processes import Daemon, json_of, run_gpunode, wait_until

HTTP_TIMEOUT_S = 90.0


@dataclass
class JobQueue:
    """Processes on loopback below one short folder."""

    folder: Path
    tracker: Daemon = field(init=False)
    workers: list[Daemon] = field(default_factory=list)

    def start(self) -> None:
        """Start the tracker, wait for it, make an account."""
        arguments = ["tracker", "start", "--listen", "127.0.0.1:0", "--no-mesh"]
        self.tracker = Daemon(arguments, self.folder / "tracker")
        self.url = self.tracker.wait_ready()["url"]
        self.account = self.tracker_command("create-account", "queue")["account"]
        self.api_key = self.tracker_command("create-key", self.account)["api_key"]

    def add_worker(self, name: str, *options: str) -> Daemon:
        """Start a pull worker; the caller waits for it."""
        common = ["--tracker", self.url, "--model", MODEL, "--threads", "1", "--region", "europe"]
        worker = Daemon(["start", "--pull", *common, *options], self.folder / name)
        self.workers.append(worker)
        return worker

    def stop(self) -> None:
        """End everything that still runs."""
        for worker in self.workers:
            worker.stop()
        self.tracker.stop()

    def tracker_command(self, *arguments: str) -> Any:
        """Run a ``gpunode tracker`` command on the tracker's data."""
        options = ("--json", "--data-dir", str(self.tracker.data_dir))
        return json_of(run_gpunode("tracker", *arguments, *options, home=self.folder))

    def submit(self, text: str, **params: Any) -> str:
        """Queue a chat and return the job's id."""
        value = {"messages": [{"role": "user", "content": text}], "temperature": 0} | params
        return self.submit_any({"type": "llm", "params": value, "model": MODEL})

    def submit_any(self, submission: dict[str, Any]) -> str:
        """Queue a job of any kind and return its id."""
        return str(self.call("POST", JOBS_PATH, submission)["job_id"])

    def job(self, job_id: str) -> Any:
        """Return a job as it is."""
        return self.call("GET", JOB_PATH.format(job=job_id))

    def wait_for(self, job_id: str, status: str, deadline_s: float = 30.0) -> Any:
        """Return a job once it has a status."""
        return wait_until(
            lambda: view if (view := self.job(job_id))["status"] == status else None,
            f"job {job_id} is {status}",
            deadline_s,
        )

    @contextmanager
    def events(self, job_id: str) -> Iterator[Iterator[tuple[str, Any]]]:
        """Yield name and data of a job's server-sent events, up to its end."""
        with self._open("GET", JOB_EVENTS_PATH.format(job=job_id)) as stream:
            yield _parsed(stream)

    def balance_microcredits(self) -> int:
        """Return what the account has, free and reserved."""
        said = self.call("GET", BALANCE_PATH)
        return int(said["spendable_microcredits"] + said.get("reserved_microcredits", 0))

    def proof_of(self, receipt: str) -> Any:
        """Return the ledger's proof of a receipt once there is one."""
        path = RECEIPT_PATH.format(receipt=receipt)
        return wait_until(lambda: self._found(path), f"the ledger has receipt {receipt}")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the tracker and return its JSON."""
        with self._open(method, path, body) as reply:
            return json.load(reply)

    def _found(self, path: str) -> Any:
        try:
            return self.call("GET", path)
        except urllib.error.HTTPError as error:
            with error:
                if error.code not in {404, 503}:
                    raise
            return None

    def _open(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.api_key}"}
        asked = urllib.request.Request(self.url + path, data, headers, method=method)
        return urllib.request.urlopen(asked, timeout=HTTP_TIMEOUT_S)


def _parsed(stream: Any) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in stream:
        text = line.decode().rstrip("\n")
        if text.startswith("event: "):
            name = text.removeprefix("event: ")
        elif text.startswith("data: "):
            yield name, json.loads(text.removeprefix("data: "))


def worker_status(worker: Daemon) -> Any:
    """Return what ``gpunode status`` says of a worker."""
    return ask_daemon(NodeFolder(worker.data_dir).control, "status")
