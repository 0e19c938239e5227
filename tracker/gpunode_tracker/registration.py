"""Registration, certificates, heartbeats and links of nodes."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from gpunode_protocol.advert_validation import AdvertRecord, AdvertRejected, validate_advert_record
from gpunode_protocol.adverts import Advert, pack_advert
from gpunode_protocol.certificates import CERTIFICATE_LIFETIME_S, certificate_for
from gpunode_protocol.dht_keys import DhtKey
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.identity import PeerId, public_key_of
from gpunode_protocol.regions import Region
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.signing import Envelope, Signed, open_signed, read_body, sign
from gpunode_protocol.tracker_api import Link, LinkReply, Registration
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.audit import Action
from gpunode_tracker.bans import BanKind
from gpunode_tracker.challenges import Challenges
from gpunode_tracker.entries import Bookkeeper, node_name
from gpunode_tracker.errors import Banned, Forbidden, InvalidRequest, NotFound
from gpunode_tracker.geoip import Place
from gpunode_tracker.keys import KeyRing
from gpunode_tracker.storage import audit, ledger, nodes
from gpunode_tracker.storage.accounts import Account
from gpunode_tracker.storage.bans import find_ban
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.locks import node_lock, take

WORKER_TOKEN_PREFIX = "gpw_"  # noqa: S105 -- the prefix, so that scanners recognise a leaked token


@dataclass(frozen=True)
class Registered:
    """What a node gets; the token is shown this once."""

    peer: PeerId
    token: str
    certificate: Envelope
    region: Region | None


class Registrar:
    """Registers nodes of one network.

    Args:
        database: where they are kept.
        challenges: proofs of possession sign one of these.
    """

    def __init__(self, database: Database, challenges: Challenges) -> None:
        self._database = database
        self._challenges = challenges

    async def register(
        self, keys: KeyRing, envelope: Envelope, *, seen: Place | None, address: str = "", now: int
    ) -> Registered:
        """Check a node's proof that it has its key; give it a token and a certificate.

        Args:
            seen: by its address; the region is used when it names none.
            address: where it comes from, for the audit log.

        Raises:
            ProtocolError: malformed, or not signed by the peer that it names.
            InvalidRequest: another network, or a challenge that is not ours, has expired or was used.
            Forbidden: the node was revoked. Banned: it, or its account, is shut out.
            NoSigningKey: no certificate can be signed now.
        """
        registration = open_proof(Registration, envelope, keys.network)
        expires_at = self._challenges.check(registration.challenge)
        region = registration.region or (seen.region if seen else None)
        token = WORKER_TOKEN_PREFIX + secrets.token_urlsafe(32)
        async with self._database.write() as connection:
            await _refuse_shut_out(connection, registration.peer, now)
            await use_up(connection, registration.challenge, expires_at)
            await nodes.save_node(connection, registration, region=region, seen=seen, token=token, now=now)
            certificate = await _certify(connection, keys, registration.peer, now)
            name = node_name(registration.peer)
            await audit.record(connection, name, Action.NODE_REGISTERED, name, address=address, at=now)
        return Registered(registration.peer, token, certificate, region)

    async def beat(self, keys: KeyRing, peer: PeerId, *, now: int) -> Envelope | None:
        """Note a heartbeat; return a fresh certificate when the newest is past half its life, or was revoked.

        While nothing can be signed the node keeps the one that it has, and gets the next with a later heartbeat.

        Raises:
            Forbidden: the node was revoked, a moment ago at most. Banned: it would get a certificate, but is shut out.
        """
        async with self._database.write() as connection:
            if not await nodes.note_heartbeat(connection, peer, now=now):
                raise _shut_out()
            issued_at = await nodes.newest_certificate_at(connection, peer)
            if issued_at is not None and now - issued_at < CERTIFICATE_LIFETIME_S // 2:
                return None
            await _refuse_shut_out(connection, peer, now)
            return await _certify(connection, keys, peer, now) if keys.can_sign(now) else None

    async def link(
        self, keys: KeyRing, envelope: Envelope, account: Account, *, address: str = "", now: int
    ) -> tuple[PeerId, LinkReply]:
        """Attach a node to an account and move what it earned there.

        Raises:
            ProtocolError, InvalidRequest: as for ``register``.
            NotFound: the node never registered. Forbidden: a promotional account.
        """
        link = open_proof(Link, envelope, keys.network)
        expires_at = self._challenges.check(link.challenge)
        if account.promotional:
            raise Forbidden("Nodes cannot be linked to a promotional account: its credits pay nothing spendable.")
        async with self._database.write() as connection:
            if await nodes.find_node(connection, link.peer, lock=True) is None:
                raise NotFound("This node is not registered here. Start it once, then link it.")
            await use_up(connection, link.challenge, expires_at)
            await nodes.set_account(connection, link.peer, account.id)
            earned = await ledger.balance(connection, node_name(link.peer))
            if earned > 0:
                await ledger.append(connection, Bookkeeper(keys.network, now).link(link.peer, account.id, earned))
            detail = {"account": account.id, "moved_microcredits": max(0, earned)}
            actor, subject = f"key:{account.key_id}", node_name(link.peer)
            await audit.record(connection, actor, Action.NODE_LINKED, subject, detail, address, at=now)
        return link.peer, LinkReply(account=account.id, moved_microcredits=max(0, earned))


def check_adverts(
    envelopes: Sequence[Envelope], keys: KeyRing, revocations: Revocations, *, peer: PeerId, now: float
) -> tuple[list[Signed[Advert]], list[str]]:
    """Return a node's valid adverts, and why the others are not; the rules are the DHT's."""
    valid, refused = [], []
    for envelope in envelopes:
        try:
            body = read_body(Advert, envelope)
            key = DhtKey(body.network, body.model.task, body.model.name, body.region, 0, "-")
            record = AdvertRecord(str(key), peer, pack_advert(envelope), body.expires_at)
            valid.append(validate_advert_record(record, keys.trust, revocations, now=now))
        except AdvertRejected as error:
            refused.append(str(error))
        except GpunodeError as error:
            refused.append(f"advert rejected: malformed ({error})")
    return valid, refused


_Proof = TypeVar("_Proof", Registration, Link)


def open_proof(model: type[_Proof], envelope: Envelope, network: str) -> _Proof:
    """Return what a node signed to show that it has its key; its challenge is still to be checked and used up.

    Raises:
        ProtocolError: malformed, or not signed by the peer that it names. InvalidRequest: for another network.
    """
    body = open_signed(model, envelope, public_key_of(read_body(model, envelope).peer)).body
    if body.network != network:
        raise InvalidRequest("This is signed for another network. Check which tracker the node belongs to.")
    return body


def _shut_out() -> Forbidden:
    return Forbidden("This node was shut out by the tracker's operator. Ask the operator for the reason.")


async def use_up(connection: AsyncConnection, challenge: bytes, expires_at: int) -> None:
    """Use a challenge up.

    Raises:
        InvalidRequest: it was used before.
    """
    if not await nodes.use_challenge(connection, challenge, expires_at=expires_at):
        raise InvalidRequest("The challenge was used before. Ask for a new one and sign that.")


async def _certify(connection: AsyncConnection, keys: KeyRing, peer: PeerId, now: int) -> Envelope:
    kid, signer = keys.signer(now)
    certificate = certificate_for(peer, network=keys.network, kid=kid, now=now)
    await nodes.add_certificate(connection, certificate)
    return sign(signer, certificate).envelope


async def _refuse_shut_out(connection: AsyncConnection, peer: PeerId, now: int) -> None:
    """Ask the database, not the process's memory of it: a certificate that is given by mistake lives for days.

    The node's row is locked, as it is for a ban, or its name while there is no row: either sees what the other did.
    """
    known = await nodes.find_node(connection, peer, lock=True)
    if known is None:
        await take(connection, node_lock(peer))
        known = await nodes.find_node(connection, peer, lock=True)
    if known is not None and known.revoked_at is not None:
        raise _shut_out()
    subjects = [(BanKind.NODE, str(peer))]
    if known is not None and known.account_id is not None:
        subjects.append((BanKind.ACCOUNT, known.account_id))
    for kind, subject in subjects:
        ban = await find_ban(connection, kind, subject)
        if ban is not None and ban.holds(now):
            raise Banned(ban.words)
