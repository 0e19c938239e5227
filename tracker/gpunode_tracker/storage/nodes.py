"""Registered nodes, their certificates and the challenges that were used up."""

from collections.abc import Collection
from dataclasses import dataclass

from gpunode_protocol.certificates import Certificate
from gpunode_protocol.geography import Position
from gpunode_protocol.identity import PeerId
from gpunode_protocol.tracker_api import Registration
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.geoip import Place
from gpunode_tracker.storage.accounts import secret_hash
from gpunode_tracker.storage.tables import certificates, nodes, used_challenges
from gpunode_tracker.storage.upserts import insert_if_new, insert_or_update


@dataclass(frozen=True)
class StoredNode:
    """A registered node. account_id: where its earnings go, None = to its own key.

    seen_latitude, seen_longitude, seen_accuracy_km: by its address when it registered last, None = unknown.
    """

    peer: str
    account_id: str | None
    region: str | None
    revoked_at: int | None
    seen_latitude: int | None
    seen_longitude: int | None
    seen_accuracy_km: int | None

    def allowance_km(self, position: Position) -> int:
        """Return what a stated position may be off: GeoIP's radius if it is GeoIP's word, nothing if the owner's."""
        is_seen = (position.latitude, position.longitude) == (self.seen_latitude, self.seen_longitude)
        return self.seen_accuracy_km or 0 if is_seen else 0


_COLUMNS = (
    nodes.c.peer,
    nodes.c.account_id,
    nodes.c.region,
    nodes.c.revoked_at,
    nodes.c.seen_latitude,
    nodes.c.seen_longitude,
    nodes.c.seen_accuracy_km,
)


async def find_node(connection: AsyncConnection, peer: str, *, lock: bool = False) -> StoredNode | None:
    """Return a node that registered at some time; ``lock`` keeps others from changing it until the transaction ends."""
    query = select(*_COLUMNS).where(nodes.c.peer == peer)
    row = (await connection.execute(query.with_for_update(key_share=True) if lock else query)).first()
    return StoredNode(*row) if row else None


async def find_nodes(
    connection: AsyncConnection, peers: Collection[str], *, share: bool = False
) -> dict[str, StoredNode]:
    """Return those of some peers that registered at some time, by peer id.

    share: nobody links or shuts them out until the transaction ends. Locked in order of their ids, as grants are.
    """
    query = select(*_COLUMNS).where(nodes.c.peer.in_(peers))
    if share:
        query = query.order_by(nodes.c.peer).with_for_update(read=True)
    return {row.peer: StoredNode(*row) for row in await connection.execute(query)}


async def node_of_token(connection: AsyncConnection, token: str) -> StoredNode | None:
    """Return the node that a worker token belongs to."""
    row = (await connection.execute(select(*_COLUMNS).where(nodes.c.token_hash == secret_hash(token)))).first()
    return StoredNode(*row) if row else None


async def save_node(
    connection: AsyncConnection,
    registration: Registration,
    *,
    region: str | None,
    seen: Place | None,
    token: str,
    now: int,
) -> None:
    """Write a registration; an earlier one of the same node is replaced, its token with it."""
    position = seen.position if seen else None
    values = {
        "name": registration.name,
        "region": region,
        "country": registration.country,
        "seen_latitude": position.latitude if position else None,
        "seen_longitude": position.longitude if position else None,
        "seen_accuracy_km": seen.accuracy_km if seen else None,
        "gpu_model": registration.gpu_model,
        "gpu_memory_mb": registration.gpu_memory_mb,
        "supported_tasks": list(registration.supported_tasks),
        "token_hash": secret_hash(token),
        "registered_at": now,
    }
    await insert_or_update(connection, nodes, {"peer": registration.peer, **values})


async def ensure_node(connection: AsyncConnection, registration: Registration, *, region: str, now: int) -> None:
    """Keep the key of a pull worker, so that it can be paid; what a node of the same key registered stays."""
    values = {
        "peer": registration.peer,
        "name": registration.name,
        "region": region,
        "country": registration.country,
        "gpu_model": registration.gpu_model,
        "gpu_memory_mb": registration.gpu_memory_mb,
        "supported_tasks": list(registration.supported_tasks),
        "registered_at": now,
    }
    await insert_if_new(connection, nodes, values)


async def use_challenge(connection: AsyncConnection, challenge: bytes, *, expires_at: int) -> bool:
    """Use a challenge up; return False if it was used before."""
    return await insert_if_new(connection, used_challenges, {"challenge": challenge, "expires_at": expires_at})


async def forget_challenges(connection: AsyncConnection, *, now: int) -> None:
    """Drop used challenges that have expired, which are refused for that."""
    await connection.execute(delete(used_challenges).where(used_challenges.c.expires_at < now))


async def add_certificate(connection: AsyncConnection, certificate: Certificate) -> None:
    """Note a certificate that was issued, so that it can be revoked."""
    values = {
        "serial": certificate.serial,
        "peer": certificate.peer,
        "issued_at": certificate.issued_at,
        "expires_at": certificate.expires_at,
    }
    await connection.execute(insert(certificates).values(**values))


async def newest_certificate_at(connection: AsyncConnection, peer: str) -> int | None:
    """Return when the newest of the node's certificates was issued that were not revoked."""
    query = select(certificates.c.issued_at).where(certificates.c.peer == peer, certificates.c.revoked_at.is_(None))
    issued: int | None = (
        await connection.execute(query.order_by(certificates.c.issued_at.desc()).limit(1))
    ).scalar_one_or_none()
    return issued


async def note_heartbeat(connection: AsyncConnection, peer: str, *, now: int) -> bool:
    """Note when the node was heard; return False if it is shut out."""
    welcome = nodes.c.peer == peer, nodes.c.revoked_at.is_(None)
    return (await connection.execute(update(nodes).where(*welcome).values(last_heartbeat_at=now))).rowcount > 0


async def remove_token(connection: AsyncConnection, peer: str) -> None:
    """Take the worker token of a node that leaves; its earnings stay."""
    await connection.execute(update(nodes).where(nodes.c.peer == peer).values(token_hash=None))


async def set_account(connection: AsyncConnection, peer: str, account_id: str) -> None:
    """Attach a node to an account."""
    await connection.execute(update(nodes).where(nodes.c.peer == peer).values(account_id=account_id))


async def peers_of_account(connection: AsyncConnection, account_id: str) -> list[PeerId]:
    """Return the nodes that are attached to an account and not shut out."""
    query = select(nodes.c.peer).where(nodes.c.account_id == account_id, nodes.c.revoked_at.is_(None))
    return [PeerId(peer) for peer in (await connection.execute(query.order_by(nodes.c.peer))).scalars()]


async def revoke_node(connection: AsyncConnection, peer: str, *, now: int) -> bool:
    """Shut a node out: its token and certificates end; return whether there is such a node."""
    changed = await connection.execute(
        update(nodes).where(nodes.c.peer == peer).values(revoked_at=now, token_hash=None)
    )
    await revoke_certificates(connection, peer, now=now)
    return changed.rowcount > 0


async def revoke_certificates(connection: AsyncConnection, peer: str, *, now: int) -> None:
    """End a node's certificates; it gets a new one when it registers, or with its next heartbeat."""
    query = update(certificates).where(certificates.c.peer == peer, certificates.c.revoked_at.is_(None))
    await connection.execute(query.values(revoked_at=now))


async def revoked_certificates(connection: AsyncConnection, *, now: int) -> list[str]:
    """Return serials of revoked certificates that did not expire on their own yet."""
    query = select(certificates.c.serial).where(certificates.c.revoked_at.is_not(None), certificates.c.expires_at > now)
    return sorted((await connection.execute(query)).scalars())  # as grants are
