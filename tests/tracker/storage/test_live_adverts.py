"""Adverts in the database: the newest wins, whoever writes it."""

from gpunode_protocol.adverts import Advert
from gpunode_protocol.certificates import certificate_for
from gpunode_protocol.identity import Identity
from gpunode_protocol.signing import Signed, sign
from gpunode_tracker.region_index import Listed
from gpunode_tracker.storage.live_adverts import (
    PAGE_ROWS,
    AdvertLife,
    adverts_of,
    forget_adverts,
    lives_since,
    write_adverts,
)
from gpunode_tracker.tracker import Tracker

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import MODEL, START_AT, advert

pytestmark = ON_BOTH
NETWORK = "0" * 40
NODE = Identity.from_seed(b"n" * 32)


def _listed(sequence: int, *, heard_at: int = START_AT, live: bool = True, node: Identity = NODE) -> Listed:
    return Listed(_advert(sequence, node), heard_at, live)


def _advert(sequence: int, node: Identity) -> Signed[Advert]:
    certificate = sign(node, certificate_for(node.peer_id, network=NETWORK, kid="k", now=START_AT)).envelope
    return advert(node, certificate, NETWORK, sequence=sequence)


async def _write(tracker: Tracker, *listed: Listed, now: int = START_AT) -> None:
    async with tracker.database.write() as connection:
        await write_adverts(connection, listed, now=now)


async def _life(tracker: Tracker) -> AdvertLife:
    async with tracker.database.read() as connection:
        (life,) = await lives_since(connection, 0, now=START_AT)
    return life


async def test_the_newest_advert_stays(tracker: Tracker) -> None:
    """An older one changes nothing, not even the time."""
    newest = _listed(5)
    await _write(tracker, newest)
    await _write(tracker, _listed(4, heard_at=START_AT + 50, live=False))
    assert await _life(tracker) == AdvertLife(NODE.peer_id, "llm", MODEL, 5, START_AT, True)
    async with tracker.database.read() as connection:
        (kept,) = await adverts_of(connection, {NODE.peer_id, "other"})
    assert kept.envelope == newest.advert.envelope


async def test_signs_of_life_only_go_forward(tracker: Tracker) -> None:
    """A replica that heard the node earlier takes nothing back."""
    await _write(tracker, _listed(1, heard_at=START_AT + 20))
    await _write(tracker, _listed(1, heard_at=START_AT + 10))
    assert (await _life(tracker)).heard_at == START_AT + 20


async def test_who_left_comes_back_by_a_newer_advert_only(tracker: Tracker) -> None:
    """A replica that did not hear of it cannot bring it back."""
    await _write(tracker, _listed(1, live=False))
    await _write(tracker, _listed(1, live=True))
    assert not (await _life(tracker)).is_live
    await _write(tracker, _listed(2, live=True))
    assert (await _life(tracker)).is_live


async def test_what_was_written_lately(tracker: Tracker) -> None:
    """By the instant of the writing, without what has expired."""
    await _write(tracker, _listed(1), now=START_AT)
    async with tracker.database.read() as connection:
        assert await lives_since(connection, START_AT + 1, now=START_AT) == []
        assert await lives_since(connection, START_AT, now=START_AT + 150) == []
        assert len(await lives_since(connection, START_AT, now=START_AT)) == 1


async def test_expired_ones_are_dropped(tracker: Tracker) -> None:
    """Some time after their expiry."""
    await _write(tracker, _listed(1))
    for expired_before, left in ((START_AT + 150, 1), (START_AT + 151, 0)):
        async with tracker.database.write() as connection:
            await forget_adverts(connection, expired_before=expired_before)
            assert len(await adverts_of(connection, {NODE.peer_id})) == left


async def test_many_at_once(tracker: Tracker) -> None:
    """More than one statement takes."""
    nodes = [Identity.from_seed(number.to_bytes(32, "big")) for number in range(1, PAGE_ROWS + 10)]
    await _write(tracker, *(_listed(1, node=node) for node in nodes))
    async with tracker.database.read() as connection:
        assert len(await adverts_of(connection, {node.peer_id for node in nodes})) == len(nodes)
