"""Registration of pull workers: anybody may, as the original plan has it; who shows a key is paid."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from gpunode_protocol.jobs_api import WorkerRegistration
from gpunode_protocol.regions import Region
from gpunode_protocol.tracker_api import Registration
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.audit import Action
from gpunode_tracker.challenges import Challenges
from gpunode_tracker.errors import Forbidden, InvalidRequest
from gpunode_tracker.geoip import Place
from gpunode_tracker.jobs.job import worker_holder
from gpunode_tracker.registration import open_proof, use_up
from gpunode_tracker.storage import audit, nodes, workers
from gpunode_tracker.storage.accounts import secret_hash
from gpunode_tracker.storage.database import Database
from gpunode_tracker.workers.statistics import Statistics
from gpunode_tracker.workers.tokens import OLD_TOKEN_S, TokenHashes, new_token
from gpunode_tracker.workers.worker import StoredWorker, WorkerStatus


@dataclass(frozen=True)
class RegisteredWorker:
    """A worker and its token, which is shown this once."""

    worker: StoredWorker
    token: str

    @property
    def hashes(self) -> TokenHashes:
        """What is kept of its tokens."""
        return TokenHashes(secret_hash(self.token))


class WorkerRegistrar:
    """Registers the workers of one network.

    Args:
        database: where they are kept.
        challenges: proofs of possession sign one of these.
    """

    def __init__(self, database: Database, challenges: Challenges) -> None:
        self._database = database
        self._challenges = challenges

    async def register(
        self, network: str, body: WorkerRegistration, *, seen: Place | None, address: str = "", now: int
    ) -> RegisteredWorker:
        """Give a worker an id and a token.

        A worker with a key that registers again keeps its id and what is known of its work; its tokens before end.

        Args:
            network: that a signed registration must name.
            seen: where its address is; the region is used when it names none.
            address: where it comes from, for the audit log.

        Raises:
            ProtocolError: the signed registration is malformed, or not signed by the peer that it names.
            InvalidRequest: no region, another network, or a challenge that is not ours, has expired or was used.
            Forbidden: its key was shut out.
        """
        proof = None if body.registration is None else open_proof(Registration, body.registration, network)
        worker = _new_worker(body, proof, seen=seen, now=now)
        token = new_token()
        if proof is None:
            async with self._database.write() as connection:
                await workers.add_worker(connection, worker, secret_hash(token))
                await note(connection, Action.WORKER_REGISTERED, worker.id, address=address, now=now)
            return RegisteredWorker(worker, token)
        return await self._register_key(worker, proof, token, address=address, now=now)

    async def _register_key(
        self, worker: StoredWorker, proof: Registration, token: str, *, address: str, now: int
    ) -> RegisteredWorker:
        expires_at = self._challenges.check(proof.challenge)
        async with self._database.write() as connection:
            await nodes.ensure_node(connection, proof, region=worker.region, now=now)
            node = await nodes.find_node(connection, proof.peer, lock=True)
            known = await workers.worker_of_peer(connection, proof.peer)
            ban = await workers.ban_of(connection, known.id if known else None, proof.peer, now=now)
            if ban is not None or (node is not None and node.revoked_at is not None):
                reason = ban or "its key was revoked"
                raise Forbidden(f"This worker was shut out by the tracker's operator ({reason}). Ask the operator.")
            await use_up(connection, proof.challenge, expires_at)
            if known is None:
                await workers.add_worker(connection, worker, secret_hash(token))
            else:
                worker = replace(worker, id=known.id, statistics=known.statistics, registered_at=known.registered_at)
                await workers.replace_worker(connection, worker, secret_hash(token))
            await note(connection, Action.WORKER_REGISTERED, worker.id, {"peer": proof.peer}, address=address, now=now)
        return RegisteredWorker(worker, token)

    async def rotate(self, worker_id: str, shown: bytes, *, address: str = "", now: int) -> tuple[str, TokenHashes]:
        """Give a worker a new token; the one that it showed works 60 s more. shown: that one's hash.

        Raises:
            Forbidden: the token was rotated before.
        """
        token = new_token()
        hashes = TokenHashes(secret_hash(token), shown, now + OLD_TOKEN_S)
        async with self._database.write() as connection:
            if not await workers.rotate_token(connection, worker_id, hashes):
                raise Forbidden("This token was rotated before. Use the newest one, or register again.")
            await note(connection, Action.WORKER_TOKEN_ROTATED, worker_id, address=address, now=now)
        return token, hashes


async def note(
    connection: AsyncConnection,
    action: Action,
    worker_id: str,
    detail: Mapping[str, Any] | None = None,
    *,
    address: str,
    now: int,
) -> None:
    """Note in the audit log what a worker does; part of the transaction in which it is done."""
    name = worker_holder(worker_id)
    await audit.record(connection, name, action, name, detail, address, at=now)


def _new_worker(body: WorkerRegistration, proof: Registration | None, *, seen: Place | None, now: int) -> StoredWorker:
    region = body.region or (proof.region if proof else None) or (seen.region if seen else None)
    if region is None:
        raise InvalidRequest(
            "Where this worker is cannot be told by its address. Give a region; it is one of " + ", ".join(Region) + "."
        )
    position = seen.position if seen else None
    return StoredWorker(
        id=str(uuid.uuid4()),
        name=body.name,
        status=WorkerStatus.OFFLINE,
        region=region,
        country=body.country or (seen.country if seen else ""),
        city=body.city,
        latitude=position.latitude if position else None,
        longitude=position.longitude if position else None,
        gpu_model=body.gpu_model,
        gpu_memory_gb=body.gpu_memory_gb,
        memory_used_gb=0.0,
        supported_types=tuple(dict.fromkeys(str(task) for task in body.supported_types)),
        models=tuple(dict.fromkeys(body.models)),
        statistics=Statistics(),
        maintenance=False,
        last_heartbeat=None,
        registered_at=now,
        peer=proof.peer if proof else None,
    )
