"""Admission with its memory on disk: what is written down before a job is accepted survives the process."""

import logging
import sqlite3
from dataclasses import replace
from pathlib import Path

from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.grants import Grant
from gpunode_protocol.identity import PeerId
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import Signed

from gpunode_node.admission import Admission, JobKey, RememberedJob
from gpunode_node.admission_store import AdmissionStore
from gpunode_node.delivery import Delivery

logger = logging.getLogger(__name__)

DISK_RETRY_AFTER_S = 30.0
"""When a node whose disk is full may be asked again."""


class AdmissionDesk:
    """``Admission``, written through to its store. ``begin`` decides at once, on the event loop.

    Args:
        path: of the store.
        node: this node.
        exposure_microcredits: what may be at risk for one open grant.
        delivery: of its jobs. The grant of one that is delivered whole is for this job alone, and pays one attempt,
            whose receipt the tracker took: what an attempt came to that has ended takes nothing from the next one.
    """

    def __init__(
        self, path: Path, node: PeerId, exposure_microcredits: int, delivery: Delivery = Delivery.STREAM
    ) -> None:
        self._store = AdmissionStore(path)
        self._node = node
        self._exposure_microcredits = exposure_microcredits
        self._pays_one_attempt = delivery is Delivery.WHOLE
        self._admission = Admission(node, exposure_microcredits)

    async def open(self, now: float) -> None:
        """Read what is to be remembered at ``now`` (Unix seconds).

        Raises:
            StateUnwritable: the file cannot be opened.
        """
        remembered = await self._store.open(now)
        if self._pays_one_attempt:
            remembered = [replace(job, cost_microcredits=0) for job in remembered]
        self._admission = Admission(self._node, self._exposure_microcredits, remembered)

    def begin(self, request: Signed[JobRequest], grant: Grant) -> RememberedJob:
        """See ``Admission.begin``."""
        return self._admission.begin(request, grant)

    async def reserve(self, key: JobKey, grant: Grant, worst_case_microcredits: int) -> None:
        """See ``Admission.reserve``; when this returns, the request is on disk.

        Raises:
            JobError: ``grant_exhausted``, or ``busy`` when the disk is full.
        """
        job = self._admission.reserve(key, grant, worst_case_microcredits)
        try:
            await self._store.save(job)
        except sqlite3.Error as error:
            logger.exception("an admitted request cannot be written", extra={"event": "admission_unwritable"})
            raise job_error(
                ErrorCode.BUSY,
                "The node's disk is full, so it takes no new jobs; try another node.",
                retry_after_s=DISK_RETRY_AFTER_S,
            ) from error

    async def finish(self, key: JobKey, cost_microcredits: int) -> None:
        """See ``Admission.finish``. Where the disk does not take it, the worst case stays written there."""
        await self._save(self._admission.finish(key, 0 if self._pays_one_attempt else cost_microcredits))

    def vouch(self, key: JobKey, vouched_until: int) -> None:
        """See ``Admission.vouch``; ``keep`` writes it."""
        self._admission.vouch(key, vouched_until)

    async def keep(self, key: JobKey) -> None:
        """Write how far an ended job was vouched for, so that the next process knows it too."""
        job = self._admission.find(key)
        if job is not None:
            await self._save(job)

    async def forget(self, key: JobKey) -> None:
        """See ``Admission.forget``."""
        self._admission.forget(key)
        await self._delete([key])

    async def expire(self, now: float) -> None:
        """Drop what need not be remembered any more; ``now``: Unix seconds."""
        await self._delete(self._admission.expire(now))

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()

    async def _save(self, job: RememberedJob) -> None:
        try:
            await self._store.save(job)
        except sqlite3.Error:
            logger.exception("a job's cost cannot be written", extra={"event": "admission_unwritable"})

    async def _delete(self, keys: list[JobKey]) -> None:
        try:
            await self._store.delete(keys)
        except sqlite3.Error:
            logger.exception("old requests cannot be removed", extra={"event": "admission_unwritable"})
