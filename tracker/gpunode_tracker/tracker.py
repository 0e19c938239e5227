"""Everything that the handlers share: database, keys, index, ledger. Opened once for each process."""

import asyncio
import logging
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

from gpunode_protocol.doubts import PLACE_DOUBTFUL
from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.prices import PriceTable
from gpunode_protocol.regions import Region
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.signing import Signed, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import NetworkInfo, NodesReply, SettlementItem, SettlementResult
from gpunode_protocol.trust import NodeIndex

from gpunode_tracker import Clock
from gpunode_tracker.bans import BanKind, Bans
from gpunode_tracker.challenges import SECRET_BYTES, Challenges
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.data_folder import refuse_half_restored
from gpunode_tracker.errors import DatabaseUnusable, StorageDamaged
from gpunode_tracker.geoip import GeoIp
from gpunode_tracker.jobs.desk import JobDesk
from gpunode_tracker.jobs.mesh_capacity import MeshCapacities
from gpunode_tracker.jobs.news import JobNews
from gpunode_tracker.jobs.outlook import Outlook
from gpunode_tracker.key_watch import KeyWatch
from gpunode_tracker.keys import SIGNING_FOLDER, KeyRing, open_keys, read_keys
from gpunode_tracker.lookup_answers import LookupAnswers
from gpunode_tracker.mesh_peer import MeshPeer
from gpunode_tracker.metrics import Metrics
from gpunode_tracker.network_keys import DISPATCH_KEY_FILE, open_dispatch_key, open_sealer
from gpunode_tracker.place_watch import PlaceWatch
from gpunode_tracker.region_index import RegionIndex
from gpunode_tracker.registration import Registrar
from gpunode_tracker.revocation_list import current_revocations
from gpunode_tracker.sealing import Sealer
from gpunode_tracker.sealing_key_file import SEALING_KEYS_FILE
from gpunode_tracker.sealing_watch import SealingWatch
from gpunode_tracker.sequencer import Sequencer
from gpunode_tracker.settling import Settling
from gpunode_tracker.sharding import Sharding
from gpunode_tracker.shared.common_clock import CommonClock
from gpunode_tracker.shared.replica import Replica
from gpunode_tracker.storage.bans import all_bans
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.documents import constant, find_constant, replace_value
from gpunode_tracker.storage.prices import ensure_prices, newest_prices
from gpunode_tracker.storage.sqlite_connection import holds_something
from gpunode_tracker.workers.capacity import WorkerCapacities
from gpunode_tracker.workers.pool import WorkerPool

logger = logging.getLogger(__name__)

_SHARDING = "sharding"


@dataclass
class Tracker:
    """One tracker process. ``keys``, ``prices`` and ``revocations`` are replaced by newer ones (see ``upkeep``).

    sealer: for what clients entrust to the queue. dispatch: signs requests and vouchers of queued jobs.
    news: of queued jobs. wake_sequencer: set after every write to the ledger, so that a head is signed soon.
    wake_webhooks: set after a webhook became due, so that it is sent soon.
    """

    settings: TrackerSettings
    clock: Clock
    database: Database
    keys: KeyRing
    prices: PriceTable
    revocations: Signed[Revocations]
    challenges: Challenges
    registrar: Registrar
    settling: Settling
    sequencer: Sequencer
    index: RegionIndex
    sharding: Sharding
    geoip: GeoIp
    sealer: Sealer
    sealing_watch: SealingWatch
    dispatch: Identity
    bans: Bans
    replica: Replica
    monotonic: Clock = time.monotonic
    news: JobNews = field(default_factory=JobNews)
    places: PlaceWatch = field(default_factory=PlaceWatch)
    metrics: Metrics = field(default_factory=Metrics)
    mesh: MeshPeer | None = None
    wake_sequencer: asyncio.Event = field(default_factory=asyncio.Event)
    wake_webhooks: asyncio.Event = field(default_factory=asyncio.Event)
    _missed_keys: frozenset[str] = frozenset()

    @classmethod
    async def open(cls, settings: TrackerSettings, clock: Clock = time.time, monotonic: Clock = time.monotonic) -> Self:
        """Open database and keys, making both the first time; the mesh is attached by the caller.

        Args:
            settings: how it runs.
            clock: Unix seconds. monotonic: seconds of a clock that nobody sets.

        Raises:
            StorageUnavailable, DatabaseUnusable, KeysUnusable, IdentityFileError: with what to do.
        """
        database = await open_database(settings)
        try:
            keys = await open_keys(database, settings.data_dir, now=clock())
            keys.signer(clock())  # a missing key is to be noticed now, not at the first grant
            async with database.write() as connection:
                prices = await ensure_prices(connection)
                secret = await constant(connection, "challenge_secret", secrets.token_bytes(SECRET_BYTES))
                sharding = Sharding.from_json(await find_constant(connection, _SHARDING), now=int(clock()))
                log = await constant(connection, "log_id", secrets.token_hex(16).encode())
                bans = Bans(clock)
                bans.replace(await all_bans(connection, now=int(clock())))
                dispatch = await open_dispatch_key(connection, settings.data_dir)
                sealing_watch = SealingWatch(settings.data_dir / SEALING_KEYS_FILE)  # first: no change is to be missed
                sealer = await open_sealer(connection, settings.data_dir)
            challenges = Challenges(secret, clock)
            sequencer = Sequencer(database, log.decode(), clock)
            await sequencer.start(keys)
            return cls(
                settings=settings,
                clock=clock,
                database=database,
                keys=keys,
                prices=prices,
                revocations=await current_revocations(database, keys, now=int(clock())),
                challenges=challenges,
                registrar=Registrar(database, challenges),
                settling=Settling(database, keys.network, clock),
                sequencer=sequencer,
                index=RegionIndex(random.Random()),  # noqa: S311 -- picks a sample, guards nothing
                sharding=sharding,
                geoip=GeoIp(settings.geoip_database),
                sealing_watch=sealing_watch,
                sealer=sealer,
                dispatch=dispatch,
                bans=bans,
                replica=Replica(settings, keys.network),
                monotonic=monotonic,
            )
        except StorageDamaged as error:
            await database.close()
            raise _unusable(settings, error) from error
        except BaseException:
            await database.close()
            raise

    async def close(self) -> None:
        """Close files and connections."""
        self.geoip.close()
        await self.database.close()

    @cached_property
    def common_clock(self) -> CommonClock:
        """Unix seconds by the clock that all trackers of the database share, for leases and for who lives."""
        return CommonClock(self.clock)

    @property
    def lease_ends_in_s(self) -> int:
        """Seconds until a lease ends that begins now, to be added to ``now``: leases end by the common clock."""
        return self.settings.lease_s + int(self.common_clock()) - self.now

    @cached_property
    def desk(self) -> JobDesk:
        """Where queued jobs are submitted, ended and paid."""
        return JobDesk(self)

    @cached_property
    def workers(self) -> WorkerPool:
        """The pull workers."""
        return WorkerPool(self, random.Random())  # noqa: S311 -- draws who gets a job, guards nothing

    @cached_property
    def key_watch(self) -> KeyWatch:
        """The keys of requests that go on for long."""
        return KeyWatch(self.database, self.bans, self.clock)

    @cached_property
    def outlook(self) -> Outlook:
        """Who could do a queued job, and when; whoever knows of more workers adds to its ``sources``."""
        nodes = MeshCapacities(self.index, self.settings.default_models, self.clock, self._sends_jobs)
        return Outlook(self.database, self.clock, [nodes, WorkerCapacities(self.workers.presence)])

    def _sends_jobs(self) -> bool:
        return self.mesh is not None and self.settings.dispatch

    @cached_property
    def answers(self) -> LookupAnswers:
        """What everybody looks up."""
        return LookupAnswers(self)

    @property
    def dispatch_key_path(self) -> Path:
        """Where the dispatch key is."""
        return self.settings.data_dir / DISPATCH_KEY_FILE

    @property
    def now(self) -> int:
        """Whole Unix seconds."""
        return int(self.clock())

    @property
    def bootstrap(self) -> tuple[str, ...]:
        """Multiaddrs by which others join the mesh."""
        return self.mesh.addresses if self.mesh is not None else ()

    async def refresh(self) -> None:
        """Read what others may have changed: bans, prices, keys, revocations, shards."""
        self.sealing_watch.refresh(self.sealer)
        await self.refresh_bans()
        await self.refresh_prices()
        self.keys = await read_keys(self.database, self.settings.data_dir)
        self._warn_of_missing_keys()
        async with self.database.read() as connection:
            kept = await find_constant(connection, _SHARDING)
        self.sharding = self.sharding.or_newer(kept)
        known = self.revocations.body.sequence
        self.revocations = await current_revocations(self.database, self.keys, now=self.now)
        if self.revocations.body.sequence != known:
            self.index.remove_revoked(frozenset(self.revocations.body.certificates))
            await self.workers.sync.read()  # a revoked key is a worker's, too
        if self.mesh is not None:
            self.mesh.trust(self.keys.trust, self.revocations.body)

    def _warn_of_missing_keys(self) -> None:
        """Say once of each signing key that its file is not here: before the key takes over, not when it should."""
        missing = self.keys.missing(self.clock())
        for kid in sorted(missing - self._missed_keys):
            logger.warning(
                "The file of the published signing key %s is not here. Copy it from %s/ of the tracker that made it, "
                "within two hours.",
                kid,
                SIGNING_FOLDER,
                extra={"event": "signing_key_missing", "kid": kid},
            )
        self._missed_keys = missing

    async def settle(self, items: Sequence[SettlementItem]) -> list[SettlementResult]:
        """Settle vouchers and count what came of them; see ``Settling.settle``."""
        results = await self.settling.settle(items)
        self.wake_sequencer.set()
        for result in results:
            self.metrics.settlements.labels(result.status).inc()
            self.metrics.paid_microcredits.inc(result.paid_microcredits)
        return results

    async def refresh_bans(self) -> None:
        """Read the bans; take nodes off the index that are shut out from now on, and give such workers no jobs."""
        async with self.database.read() as connection:
            found = await all_bans(connection, now=self.now)
        if self.bans.replace(found):
            for peer in self.bans.of_kind(BanKind.NODE):
                self.index.remove(PeerId(peer))
            await self.workers.sync.read()  # those whose polls wait, and those who may come back

    async def refresh_prices(self) -> None:
        """Read the prices in force."""
        async with self.database.read() as connection:
            self.prices = await newest_prices(connection) or self.prices

    async def sequence(self) -> None:
        """Number the ledger's new entries and sign a head, now."""
        self.metrics.leaves.inc(await self.sequencer.run_once(self.keys))

    async def reshard(self) -> None:
        """Split the DHT's topics as the live nodes need it, and keep the result for the next start."""
        found = self.sharding.reconsidered(self.index.peers(self.clock()).values(), self.now)
        if found is not self.sharding:
            async with self.database.write() as connection:
                await replace_value(connection, _SHARDING, found.to_json())
            self.sharding = found
            logger.info("the DHT's keys have %d shard bits now", found.bits, extra={"event": "resharded"})

    def judge_places(self) -> None:
        """Find out anew whose stated place is doubtful, and log who is so from now on."""
        for peer in self.places.judge(self.clock()):
            logger.info("%s %s", peer, PLACE_DOUBTFUL, extra={"event": "place_doubtful", "peer_id": peer})

    def signed_index(self, *, task: Task | None, model: str | None, region: Region | None) -> NodesReply:
        """Return live adverts that fit, at most 256, signed as a whole."""
        found = self.index.find(self.clock(), task=task, region=region, model=model)
        kid, signer = self.keys.signer(self.now)
        adverts = tuple(advert.envelope for advert in found)
        index = NodeIndex(network=self.keys.network, issued_at=self.now, adverts=adverts, kid=kid)
        return NodesReply(index=sign(signer, index).envelope)

    def network_info(self) -> NetworkInfo:
        """Return what newcomers need."""
        return NetworkInfo(
            network=self.keys.network,
            root_public_key=self.keys.trust.root_public_key,
            keyset=self.keys.keyset.envelope,
            revocations=self.revocations.envelope,
            bootstrap=self.bootstrap,
            shard_bits=self.sharding.bits,
            previous_shard_bits=self.sharding.previous_at(self.now),
            prices=self.prices,
            default_models={str(task): model for task, model in self.settings.default_models.items()},
            doubtful_places=self.places.doubtful,
            time=self.now,
        )


async def open_database(settings: TrackerSettings) -> Database:
    """Open the database of the settings and bring its schema up to date.

    Raises:
        StorageUnavailable, DatabaseTooNew, DatabaseUnusable: with what to do.
    """
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    refuse_half_restored(settings.data_dir)
    if settings.database_url is None:
        _refuse_lost(settings)
        settings.sqlite_path.touch(mode=0o600)  # SQLite gives its log files the same mode
    database = Database(settings.sqlalchemy_url)
    try:
        await database.migrate()
    except StorageDamaged as error:
        await database.close()
        raise _unusable(settings, error) from error
    except BaseException:
        await database.close()
        raise
    return database


def _refuse_lost(settings: TrackerSettings) -> None:
    """Refuse to begin a new ledger where there was one: to SQLite, an empty file is as good as a new one.

    Raises:
        DatabaseUnusable: there is none, although there are keys that a first start makes only when it stands.
    """
    path = settings.sqlite_path
    is_there = path.exists()
    left = [name for name in (SEALING_KEYS_FILE, DISPATCH_KEY_FILE) if (settings.data_dir / name).exists()]
    if left and not (is_there and holds_something(path)):
        raise DatabaseUnusable(
            f"{path} is {'empty' if is_there else 'missing'}, but {' and '.join(left)} beside it tell that there was a "
            "ledger. Put it back, or restore the newest backup into a new data folder (gpunode tracker restore). For a "
            "new network, choose another folder with --data-dir."
        )


def _unusable(settings: TrackerSettings, error: StorageDamaged) -> DatabaseUnusable:
    why = error.__cause__ if error.__cause__ is not None else error
    said = getattr(why, "orig", why)
    if settings.database_url is not None:
        return DatabaseUnusable(f"The tracker's database is damaged: {said}. Repair it, or restore a backup.")
    return DatabaseUnusable(
        f"{settings.sqlite_path} is damaged, or is no database: {said}. Nothing in it was changed. Restore the newest "
        "backup into a new data folder (gpunode tracker restore); what was written since may be had from the damaged "
        "file by sqlite3's .recover."
    )
