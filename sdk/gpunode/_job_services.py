"""What the jobs of a client share."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from gpunode_protocol.mesh.interface import Mesh
from gpunode_protocol.mesh.knock import Door
from gpunode_protocol.patience import Patience

from gpunode._accounting import JobAccounts
from gpunode._background import Background
from gpunode._breakers import Breakers
from gpunode._good_nodes import GoodNodes
from gpunode._grants import GrantSupply
from gpunode._job_requests import Job, JobSigner
from gpunode._measurements import Measurements
from gpunode._node_places import NodePlaces
from gpunode._probing import Prober
from gpunode._selection import Choice
from gpunode._turns import Turns


@dataclass(frozen=True)
class JobServices:
    """What every job of a client shares.

    patience: deadlines at a node. monotonic: seconds; clock: Unix seconds. max_attempts: nodes that are asked between
    two searches before an answer begins. resume_for_s: how long somebody is looked for who can finish an answer that
    broke off, or begin one where all have failed. all_refuse: see ``gpunode_protocol.mesh.knock``. may_wait: whether
    a job that has not begun waits for others of this client to end, where a node takes no more of them at once, and
    for other nodes; if not, it fails for load.
    """

    mesh: Mesh
    signer: JobSigner
    grants: GrantSupply
    breakers: Breakers
    good_nodes: GoodNodes
    measurements: Measurements
    prober: Prober
    places: NodePlaces
    accounting: JobAccounts
    background: Background
    patience: Callable[[Choice, Job], Patience]
    monotonic: Callable[[], float]
    clock: Callable[[], float]
    max_attempts: int
    resume_for_s: float
    all_refuse: Callable[[Sequence[Door]], Awaitable[bool]]
    may_wait: bool = True
    turns: Turns = field(default_factory=Turns)
