"""The queue's demo network: a tracker without a mesh and one pull worker on loopback, and an account."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpunode_protocol.receipts import Receipt
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import read_body

from gpunode.client import InferenceClient
from gpunode.demo.children import Children
from gpunode.demo.network import LEDGER_TIMEOUT_S, Say, make_account, read_when_ready, start_tracker
from gpunode.errors import TrackerError

_POLL_INTERVAL_S: Final = 0.05


@dataclass(frozen=True)
class Proved:
    """verified: the ledger's proof of the receipt holds, and it is for this job and this worker. in_ledger: it came."""

    verified: bool
    in_ledger: bool


@dataclass
class QueueNetwork:
    """A running tracker with one worker. Make it with ``start_queue_network``.

    client: of the account; it reads balances and proofs, and joins no mesh.
    """

    children: Children
    url: str
    api_key: str
    client: InferenceClient
    worker_id: str
    worker_peer: str
    worker_dir: Path

    def prove(self, receipt_id: str, job_id: str) -> Proved:
        """Wait until the ledger has a receipt, and check its proof.

        Raises:
            VerificationFailed: the proof does not hold.
        """
        deadline = time.monotonic() + LEDGER_TIMEOUT_S
        while time.monotonic() < deadline:
            try:
                proof = self.client.receipt_proof(receipt_id)
            except TrackerError as error:
                if error.status not in {404, 503}:
                    raise
                time.sleep(_POLL_INTERVAL_S)
            else:
                receipt = read_body(Receipt, proof.receipt)
                return Proved((receipt.job, receipt.node) == (job_id, self.worker_peer), in_ledger=True)
        return Proved(verified=False, in_ledger=False)

    def client_balance_microcredits(self) -> int:
        """Return what the account has: free and reserved."""
        balance = self.client.balance()
        return balance.spendable_microcredits + balance.reserved_microcredits

    def worker_balance_microcredits(self) -> int:
        """Return what the worker has earned."""
        said = self.children.run("earnings", ["earnings", "--json", "--data-dir", str(self.worker_dir)])
        earned: int = json.loads(said)["spendable_microcredits"]
        return earned


def start_queue_network(folder: Path, children: Children, *, model: str, say: Say) -> QueueNetwork:
    """Start a tracker and a pull worker, and wait until the worker is ready.

    Raises:
        DemoFailed: a process ended, or was not ready in time.
    """
    say("Starting a tracker")
    tracker_dir, worker_dir = folder / "t", folder / "w"
    url = start_tracker(tracker_dir, children, mesh=False)
    # one thread of the engine, as in the mesh's demo: on a small machine two would wait for each other and the tracker
    common = {"--model": model, "--region": Region.EUROPE, "--threads": "1"}
    worker = {"--tracker": url, "--data-dir": str(worker_dir), **common}
    children.start("worker", ["start", "--pull", *(part for option in worker.items() for part in option)])
    say("Making an account with 1,000 credits")
    _, key = make_account(children, tracker_dir)
    say(f"Waiting for a pull worker to load {model}")
    run = read_when_ready(worker_dir, children)
    client = InferenceClient(url, api_key=key, state_dir=folder / "c")
    return QueueNetwork(children, url, key, client, run["worker_id"], run["peer_id"], worker_dir)
