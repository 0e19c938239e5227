"""What a client shares between its calls: key, network, mesh, grants, and the knowledge of nodes."""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.job_ids import new_job_id
from gpunode_protocol.keyfile import load_or_create_identity
from gpunode_protocol.mesh import Mesh, MeshConfig
from gpunode_protocol.mesh.advert_records import AdvertValidator
from gpunode_protocol.tracker_api import NodesReply

from gpunode._accounting import Accounting
from gpunode._background import Background
from gpunode._breakers import Breakers
from gpunode._cost import JobSize
from gpunode._discovery import Discovery
from gpunode._explaining import explanation_of
from gpunode._finder import Finder, Placement, Ranking
from gpunode._good_nodes import GoodNodes
from gpunode._grants import GrantStore, GrantTerms
from gpunode._handing_in import HandingIn
from gpunode._home import HomeKeeper
from gpunode._index_ahead import IndexAhead
from gpunode._job_cost import JobCost
from gpunode._job_requests import Job, JobSigner
from gpunode._job_run import JobRun
from gpunode._job_services import JobServices
from gpunode._job_wish import JobWish
from gpunode._measurements import Measurements
from gpunode._network import Network, NetworkKeeper
from gpunode._network_prices import NetworkPrices
from gpunode._node_places import NodePlaces
from gpunode._node_queue import NodeQueue
from gpunode._own_nodes import OwnNodes
from gpunode._placing import Demand, Placer
from gpunode._preparing import ask_early, prepare
from gpunode._probing import Prober
from gpunode._region_facts import network_regions
from gpunode._selection import Choice, Wanted
from gpunode._state import StateDir
from gpunode._surroundings import Surroundings
from gpunode._tracker import SessionTracker
from gpunode._unsettled import UnsettledVouchers
from gpunode._warmth import Warmth
from gpunode.config import ClientConfig
from gpunode.errors import ClientClosed, ClientError
from gpunode.regions import NetworkRegions
from gpunode.routing import RouteExplanation
from gpunode.types import StartTimes

_log = logging.getLogger(__name__)

KNOWN_NETWORK_PATIENCE_S: Final = 2.0
"""With a network known from before, a silent tracker delays the first call by no more than this."""


@dataclass(frozen=True)
class _Open:
    """What exists once the session has joined the mesh."""

    mesh: Mesh
    validator: AdvertValidator
    finder: Finder
    services: JobServices
    grants: GrantStore
    warmth: Warmth


class Session:
    """Belongs to the event loop that uses it first; joins the mesh at the first call that needs it.

    Args:
        config: settings.
        surroundings: see ``Surroundings``.
        tracker: None = the one that the settings name. Closing the session closes it.
    """

    def __init__(
        self, config: ClientConfig, surroundings: Surroundings | None = None, tracker: SessionTracker | None = None
    ) -> None:
        self.config = config
        self._surroundings = surroundings or Surroundings()
        self.tracker = tracker or self._surroundings.create_tracker(config)
        self._state_dir = StateDir(config.state_dir)
        self._state = self._state_dir.tracker(self.tracker.url)
        clock, monotonic = self._surroundings.clock, self._surroundings.monotonic
        self._keeper = NetworkKeeper(
            self.tracker, self._state, network_id=config.network_id, clock=clock, monotonic=monotonic
        )
        self._good_nodes = GoodNodes(self._state.nodes_path, clock=clock)
        self._measurements = Measurements(self._state.measurements_path, clock=clock)
        self._home = HomeKeeper(
            config.region,
            self.tracker,
            self._state.home_path,
            rtts_ms=self._measurements.rtts_ms,
            clock=clock,
        )
        self._index = IndexAhead(self._fetch_index, monotonic=monotonic)
        own_nodes = OwnNodes(self._ask_own_nodes, monotonic=monotonic)
        self._placer = Placer(self._home, config.limits(), own_nodes)
        self._background = Background()
        self._lock = asyncio.Lock()
        self._open: _Open | None = None
        self._is_closed = False

    async def network(self) -> Network:
        """Return the verified network; the tracker is asked if the last word is old.

        Raises:
            WrongNetwork, TrackerUnreachable, TrackerError: see ``NetworkKeeper.fetch``.
        """
        self._check_open()
        known = self._keeper.current()
        if known is None or self._keeper.is_stale:
            self._state_dir.prepare()
            return await self._keeper.fetch()
        return known

    async def start_job(self, wish: JobWish) -> JobRun:
        """Find nodes and a grant for a job; the first request goes out when its events are asked for.

        Raises:
            NoNodeFound: nobody serves it, or not for what it may cost. ClientError: no grant could be had, or the
                network is not reachable.
        """
        asked_at = self._surroundings.monotonic()
        ready = await self.ready(wish)
        now, monotonic = self._surroundings.clock(), self._surroundings.monotonic()
        placement = await self._placement(Demand(wish.task, wish.model, wish.region, wish.limits, wish.params))
        services, errand = ready.services, wish.errand
        if errand is not None:
            services = replace(services, grants=errand.grants, accounting=errand.accounts, may_wait=False)
        early_grant = ask_early(ready.grants, wish, self._current())
        try:
            if errand is None:
                ranking = await ready.finder.ranking(placement)
            else:
                ranking = Ranking(list(await errand.look()), looked_up_at=monotonic)
        except BaseException:
            if early_grant is not None:  # it serves the next job
                self._background.spawn(_discard_result(early_grant))
            raise
        prober, choices = services.prober, ranking.choices
        counted = prober.job_sent(choices[0].candidate)

        async def find_again() -> Sequence[Choice]:
            try:
                return (await ready.finder.search(placement)).choices if errand is None else await errand.look()
            except GpunodeError:
                return ()

        nodes = NodeQueue(choices, counted, find_again, monotonic=self._surroundings.monotonic)
        ready.warmth.used(choices)
        limits = placement.wanted.limits
        models = {choice.model for choice in choices}  # a wish may have a shorter name, or none
        cost = JobCost.of(wish.task, wish.params, models, limit=limits.max_price_microcredits)
        try:
            if early_grant is not None:
                await early_grant
            grant = await services.grants.get(wish.task, cost=cost)
        except BaseException:
            prober.job_over(counted)
            raise
        job = Job(
            id=new_job_id(now),
            task=wish.task,
            params=wish.params,
            cost=cost,
            ends_at=monotonic + self.config.job_timeout_s,
            deadline_at=int(now + self.config.job_timeout_s) + 1,
            salt=wish.salt,
            fingerprint=None if limits.fingerprint is None else bytes.fromhex(limits.fingerprint),
        )
        run = JobRun(services, job, nodes, grant, wish.inputs)
        instants = (asked_at, monotonic, ranking.looked_up_at, nodes.made_at, self._surroundings.monotonic())
        run.start = StartTimes(*(1000 * (end - begin) for begin, end in pairwise(instants)))
        return run

    async def choices(self, demand: Demand, *, anew: bool = False) -> list[Choice]:
        """Return whom a job would ask now, best first, at least one.

        anew: search, also if nodes are known from before.

        Raises:
            NoNodeFound: nobody serves it. InvalidRequest: see ``Placer``. ClientError: the network is not reachable.
        """
        finder = (await self.ready()).finder
        placement = await self._placement(demand)
        return (await finder.search(placement)).choices if anew else await finder.choices(placement)

    async def nodes(self, wanted: Wanted) -> list[Choice]:
        """Return live nodes, probed, best first."""
        ready = await self.ready()
        return await ready.finder.all(Placement(wanted, self._home.current().region))

    async def regions(self) -> NetworkRegions:
        """Return who is in which region and where this client is; needs no mesh.

        Raises:
            TrackerUnreachable, TrackerError: the tracker does not tell. InvalidSettings: see ``StateDir.prepare``.
        """
        self._check_open()
        self._state_dir.prepare()
        reply = await self.tracker.regions()
        self._home.learn(reply)
        return network_regions(reply, self._home.current(), self._measurements.last_rtts_ms())

    async def explain(self, demand: Demand, size: JobSize | None) -> RouteExplanation:
        """Return how a job would be routed now.

        Raises:
            NoNodeFound: nobody serves it. InvalidRequest: see ``Placer``. ClientError: the network is not reachable.
        """
        ready = await self.ready()
        placement = await self._placement(demand, size)
        ranking = await ready.finder.search(placement, thorough=True)
        ready.warmth.used(ranking.choices)
        return explanation_of(ranking, placement)

    async def _placement(self, demand: Demand, size: JobSize | None = None) -> Placement:
        return await self._placer.placement(demand, info=self._current().info, size=size)

    async def _ask_own_nodes(self) -> tuple[str, ...]:
        return (await self.tracker.own_nodes()).nodes

    async def ready(self, wish: JobWish | None = None) -> _Open:
        """Join the mesh once; later calls refresh in the background what is old.

        wish: the job for which it is joined; what that needs of the tracker is asked for meanwhile.

        Raises:
            ClockOff: with this computer's clock nothing would work. ClientError: the network is not reachable.
        """
        async with self._lock:
            self._check_open()
            if self._open is None:
                self._open = await self._join(wish)
            elif self._keeper.is_stale:
                self._background.spawn(_discard_result(self._keeper.fetch()))
            self._home.refresh()
            await self._keeper.require_right_clock()
            network, validator = self._current(), self._open.validator
            validator.trust, validator.revocations = network.trust, network.revocations
            return self._open

    def shut(self) -> None:
        """Begin nothing any more; ``close`` follows."""
        self._is_closed = True

    async def close(self) -> None:
        """Finish what is owed, leave the mesh, close connections. May be called twice."""
        self.shut()
        if self._open is not None:
            await self._open.warmth.close()
            await self._open.finder.close()
        await self._index.close()
        await self._home.close()
        await self._background.close()
        self._measurements.save()
        self._home.judge()  # so that the next run knows what this one measured
        async with self._lock:
            if self._open is not None:
                ready, self._open = self._open, None
                await ready.mesh.stop()
        await self.tracker.close()

    @property
    def _identity_path(self) -> Path:
        return self._surroundings.identity_path or self._state_dir.identity_path

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClientClosed

    def _current(self) -> Network:
        network = self._keeper.current()
        assert network is not None  # noqa: S101 -- joining the mesh needs it first
        return network

    async def _join(self, wish: JobWish | None) -> _Open:
        """Start the mesh, beside asking the tracker if the network is known from before."""
        self._state_dir.prepare()
        fetching = asyncio.create_task(self._keeper.fetch())
        mesh: Mesh | None = None
        try:
            network = self._keeper.current()
            if network is None:
                network = await fetching
                await self._keeper.require_right_clock()
            self._home.refresh()  # beside the joining, so that mostly the first job knows it
            validator = AdvertValidator(network.trust, network.revocations)
            mesh = self._create_mesh(network, validator)
            grants = self._grant_store()
            spawn = self._background.spawn
            prepare(wish, network, placer=self._placer, index=self._index, grants=grants, spawn=spawn)
            await mesh.start()
            await asyncio.wait([fetching], timeout=KNOWN_NETWORK_PATIENCE_S)
            if fetching.done():
                fetching.result()
            else:
                self._background.spawn(_discard_result(fetching))
        except BaseException:
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)
            if mesh is not None:
                await mesh.stop()
            raise
        return self._assemble(mesh, validator, grants)

    def _create_mesh(self, network: Network, validator: AdvertValidator) -> Mesh:
        config = MeshConfig(
            identity_path=self._identity_path,
            state_dir=self._state_dir.mesh_dir,
            listen_addresses=(),
            bootstrap=(*network.info.bootstrap, *self._good_nodes.addresses()),
            client_mode=True,
        )
        try:
            return self._surroundings.create_mesh(config, validator)
        except ModuleNotFoundError as error:
            raise ClientError(
                f"The peer-to-peer mesh needs {error.name}, which is not installed. Run: pip install 'gpunode[mesh]'"
            ) from error

    def _grant_store(self) -> GrantStore:
        return GrantStore(
            self.tracker,
            self._state.grants_path(self.tracker.api_key or ""),
            terms=GrantTerms(load_or_create_identity(self._identity_path).peer_id, self.config.grant_microcredits),
            trust=lambda: self._current().trust,
            prices=NetworkPrices(self._current, self._keeper.fetch),
            clock=self._surroundings.clock,
            spawn=self._background.spawn,
        )

    def _assemble(self, mesh: Mesh, validator: AdvertValidator, grants: GrantStore) -> _Open:
        around, background = self._surroundings, self._background
        identity = load_or_create_identity(self._identity_path)
        breakers, good_nodes = Breakers(), self._good_nodes
        discovery = Discovery(
            mesh,
            index=self._index,
            good_nodes=good_nodes,
            network=self._current,
            clock=around.clock,
            held_against=self._measurements.held_against,
            dht_patience_s=around.dht_patience_s,
        )
        prober = Prober(mesh, self._measurements, monotonic=around.monotonic)
        vouchers = UnsettledVouchers(self._state.vouchers_path, clock=around.clock)
        handing_in = HandingIn(self.tracker, background, vouchers)
        handing_in.resume()
        services = JobServices(
            mesh=mesh,
            signer=JobSigner(identity, lambda: self._current().id, around.clock),
            grants=grants,
            breakers=breakers,
            good_nodes=good_nodes,
            measurements=self._measurements,
            prober=prober,
            places=NodePlaces(),
            accounting=Accounting(self.tracker, handing_in, background),
            background=background,
            patience=around.patience,
            monotonic=around.monotonic,
            clock=around.clock,
            max_attempts=self.config.max_attempts,
            resume_for_s=around.resume_for_s,
            all_refuse=around.all_refuse,
        )
        finder = Finder(
            discovery,
            prober,
            breakers,
            self._measurements,
            network=self._current,
            spawn=self._background.spawn,
            random=around.random,
            clock=around.clock,
            monotonic=around.monotonic,
        )
        return _Open(mesh, validator, finder, services, grants, Warmth(prober, monotonic=around.monotonic))

    async def _fetch_index(self, wanted: Wanted) -> NodesReply:
        return await self.tracker.nodes(task=wanted.task, model=wanted.model, region=wanted.region)


async def _discard_result(work: Awaitable[object]) -> None:
    await work
