"""The signed revocation list: made anew whenever its content changes."""

from gpunode_protocol.revocations import Revocations
from gpunode_protocol.signing import Signed, sign
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.keys import KeyRing
from gpunode_tracker.restorations import next_sequence
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.documents import DocumentKind, add, newest
from gpunode_tracker.storage.grants import revoked_grants
from gpunode_tracker.storage.locks import Lock, take
from gpunode_tracker.storage.nodes import revoked_certificates

_Content = tuple[tuple[str, ...], tuple[str, ...]]


async def current_revocations(database: Database, keys: KeyRing, *, now: int) -> Signed[Revocations]:
    """Return the newest list; sign one if the database says something else than the last."""
    async with database.read() as connection:
        last = await _last(connection, keys)
        if last is not None and _content_of(last) == await _content(connection, now):
            return last
    async with database.write() as connection:
        await take(connection, Lock.REVOCATIONS)
        last, content = await _last(connection, keys), await _content(connection, now)
        if last is not None and _content_of(last) == content:
            return last
        kid, signer = keys.signer(now)
        grants, certificates = content
        sequence = await next_sequence(connection, DocumentKind.REVOCATIONS, last.body.sequence if last else 0)
        body = Revocations(
            network=keys.network,
            sequence=sequence,
            issued_at=now,
            grants=grants,
            certificates=certificates,
            kid=kid,
        )
        signed = sign(signer, body)
        await add(connection, DocumentKind.REVOCATIONS, sequence, signed.envelope, now)
    return signed


async def _last(connection: AsyncConnection, keys: KeyRing) -> Signed[Revocations] | None:
    envelope = await newest(connection, DocumentKind.REVOCATIONS)
    return keys.trust.open_revocations(envelope) if envelope is not None else None


async def _content(connection: AsyncConnection, now: int) -> _Content:
    return tuple(await revoked_grants(connection, now=now)), tuple(await revoked_certificates(connection, now=now))


def _content_of(last: Signed[Revocations]) -> _Content:
    return last.body.grants, last.body.certificates
