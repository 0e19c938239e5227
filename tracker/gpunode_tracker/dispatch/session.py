"""The client by which the tracker reaches mesh nodes."""

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gpunode._session import Session
from gpunode._surroundings import Surroundings
from gpunode.config import ClientConfig

from gpunode_tracker.dispatch.local_tracker import LocalTracker

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

FOLDER: Final = "dispatch"
"""In the data folder: what the client learns of the network. May be deleted."""
DHT_PATIENCE_S: Final = 0.25
"""The index is this process's own: the DHT is a second opinion only, and jobs wait for it."""
JOB_TIMEOUT_S: Final = 900.0
"""One attempt at a queued job, all nodes together; as long as a pull worker has for one."""


def open_session(tracker: "Tracker", surroundings: Surroundings | None = None) -> Session:
    """Return a session that signs with the tracker's dispatch key. It joins the mesh when it is first used.

    As a peer of its own, not as the tracker's: nodes take requests only from the peer that signed them, and the peer of
    a replica is its alone, while a job that one replica took in may be sent by another, which shares the dispatch key.
    It also keeps jobs apart from whatever newcomers do to the bootstrap peer.

    Args:
        tracker: whose queue is worked on.
        surroundings: mesh, randomness; clocks and key become the tracker's.
    """
    local = LocalTracker(tracker)
    # not loaded: the operator's GPUNODE_* variables are for the commands, and may limit the operator's own jobs
    config = ClientConfig.model_construct(
        tracker=local.url, state_dir=tracker.settings.data_dir / FOLDER, job_timeout_s=JOB_TIMEOUT_S
    )
    around = replace(
        surroundings or Surroundings(),
        clock=tracker.clock,
        monotonic=tracker.monotonic,
        dht_patience_s=DHT_PATIENCE_S,
        identity_path=tracker.dispatch_key_path,
    )
    return Session(config, around, local)
