"""What a session takes from outside: mesh, tracker, clocks, chance, and how long it waits."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random, SystemRandom
from typing import Final

from gpunode_protocol.mesh import Mesh, MeshConfig, RecordValidator, create_mesh
from gpunode_protocol.mesh.knock import Door, all_refuse
from gpunode_protocol.patience import Patience

from gpunode._job_requests import Job, patience_with
from gpunode._look_up import DHT_PATIENCE_S
from gpunode._selection import Choice
from gpunode._tracker import TrackerClient
from gpunode.config import ClientConfig

RESUME_FOR_S: Final = 15.0
"""How long somebody is looked for who can finish or begin an answer: a p2pd that died is back after a few seconds."""


@dataclass(frozen=True)
class Surroundings:
    """What a session takes from outside; tests give their own.

    clock: Unix seconds; monotonic: seconds. resume_for_s, all_refuse: see ``JobServices``. dht_patience_s: see
    ``LookUp``. identity_path: the client's key file, None = in the state folder.
    """

    create_mesh: Callable[[MeshConfig, RecordValidator], Mesh] = create_mesh
    create_tracker: Callable[[ClientConfig], TrackerClient] = TrackerClient.from_config
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    random: Random = field(default_factory=SystemRandom)
    patience: Callable[[Choice, Job], Patience] = patience_with
    resume_for_s: float = RESUME_FOR_S
    all_refuse: Callable[[Sequence[Door]], Awaitable[bool]] = all_refuse
    dht_patience_s: float = DHT_PATIENCE_S
    identity_path: Path | None = None
