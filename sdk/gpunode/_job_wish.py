"""What a caller asks a session for."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from gpunode_protocol.blobs import Blob
from gpunode_protocol.payloads import Params
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from gpunode._accounting import JobAccounts
from gpunode._grants import GrantSupply
from gpunode._job_requests import new_salt
from gpunode._selection import Choice
from gpunode.routing import Limits


@dataclass(frozen=True)
class Errand:
    """What differs when a job is run for somebody else, elsewhere.

    look: returns whom to ask, best first, at first and whenever somebody is needed who can finish the answer; raises
    ``NoNodeFound``. grants: pay for the job. accounts: take what is owed for it.
    """

    look: Callable[[], Awaitable[Sequence[Choice]]]
    grants: GrantSupply
    accounts: JobAccounts


@dataclass(frozen=True)
class JobWish:
    """What a caller asks for. model None = the network's default; region None = anywhere, nearest first.

    limits: None = the client's. inputs: blobs that the parameters refer to, with digests under ``salt``. errand: None =
    the caller's own job.
    """

    task: Task
    params: Params
    model: str | None = None
    region: Region | None = None
    limits: Limits | None = None
    inputs: Sequence[Blob] = ()
    salt: bytes = field(default_factory=new_salt, repr=False)
    errand: Errand | None = None
