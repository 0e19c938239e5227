"""What is asked for, and the signed request that asks one node for it."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from gpunode_protocol.digests import SALT_BYTES
from gpunode_protocol.identity import Identity
from gpunode_protocol.patience import Patience, expected_units_per_s, patience_for
from gpunode_protocol.payloads import ImageParams, Params, SpeechParams, input_tokens_bound
from gpunode_protocol.requests import JobRequest, Resume
from gpunode_protocol.signing import Signed, sign
from gpunode_protocol.tasks import Task

from gpunode._grants import HeldGrant
from gpunode._job_cost import JobCost
from gpunode._selection import Choice

_MILLI: Final = 1000
_STEPS_OF_PATIENCE: Final = 8
"""Pictures come in lumps: a step at a time, and decoding one may take as long as several steps."""

_SPEECH_WINDOW_MS: Final = 30_000
"""Whisper decodes so much audio at a time, and nothing of it comes before all of it is decoded."""
_WINDOWS_OF_PATIENCE: Final = 4


@dataclass(frozen=True)
class Job:
    """A job, whichever node does it.

    id: UUIDv7. cost: at most, at the nodes that were ranked for it. ends_at: monotonic seconds; deadline_at: the same
    instant in Unix seconds. salt: 32 random bytes. fingerprint: of the weights that are required, None = any.
    """

    id: str
    task: Task
    params: Params
    cost: JobCost
    ends_at: float
    deadline_at: int
    salt: bytes = field(repr=False)
    fingerprint: bytes | None = None


@dataclass(frozen=True)
class Order:
    """What one node is asked for.

    params: the job's, less what came. start: output units that earlier parts were vouched for. previous_voucher: digest
    of the last of those vouchers. fingerprint: of the weights that are required, None = any. resume: None = from the
    beginning.
    """

    params: Params
    start: int = 0
    previous_voucher: bytes | None = None
    fingerprint: bytes | None = None
    resume: Resume | None = None


@dataclass(frozen=True)
class JobSigner:
    """Signs requests with the client's key. network: returns the network id; clock: Unix seconds."""

    identity: Identity
    network: Callable[[], str]
    clock: Callable[[], float]

    def sign(self, job: Job, choice: Choice, grant: HeldGrant, segment: int, order: Order) -> Signed[JobRequest]:
        """Return the request for one node. segment: how many nodes were asked before."""
        return sign(
            self.identity,
            JobRequest(
                network=self.network(),
                job=job.id,
                segment=segment,
                client=self.identity.peer_id,
                node=choice.node,
                grant=grant.token,
                issued_at=int(self.clock()),
                deadline_at=job.deadline_at,
                task=job.task,
                model=choice.model,
                fingerprint=order.fingerprint,
                params=order.params.to_map(),
                salt=job.salt,
                start=order.start,
                previous_voucher=order.previous_voucher,
                resume=order.resume,
            ),
        )


def new_salt() -> bytes:
    """Return a job's salt, under which all its digests are made."""
    return secrets.token_bytes(SALT_BYTES)


def patience_with(choice: Choice, job: Job) -> Patience:
    """Return the deadlines for a job at a node, from its advertised speed and the queue that it told the probe.

    The prompt counts with its upper bound of tokens: waiting a little longer is cheaper than starting anew.
    """
    speed = choice.candidate.body.model.speed
    prompt_tokens = input_tokens_bound(job.params)
    prefill_s = prompt_tokens * _MILLI / speed.input_milliunits_per_s if speed.input_milliunits_per_s else 0.0
    wait_s = choice.probe.wait_ms / _MILLI if choice.probe else 0.0
    stated_units_per_s = speed.output_milliunits_per_s / _MILLI
    units_per_s = expected_units_per_s(job.task, stated_units_per_s)
    patience = patience_for(
        task=job.task, predicted_first_output_s=prefill_s + wait_s, advertised_units_per_s=stated_units_per_s
    )
    lump_s = _lump_units(job.params) / units_per_s if units_per_s else 0.0
    return replace(
        patience,
        first_output_s=patience.first_output_s + lump_s,
        progress_window_s=max(patience.progress_window_s, lump_s),
    )


def _lump_units(params: Params) -> float:
    """Return the output units whose time a node is given before anything of them must come."""
    match params:
        case ImageParams():
            return _STEPS_OF_PATIENCE * params.units_per_image() / params.steps
        case SpeechParams():
            return _WINDOWS_OF_PATIENCE * min(params.max_audio_ms, _SPEECH_WINDOW_MS)
        case _:
            return 0.0
