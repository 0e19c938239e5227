"""Starting the parts of a node in order. Each is pushed on the caller's stack, which ends them in reverse."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from random import SystemRandom

from gpunode_engines.catalogue import CatalogueEntry
from gpunode_engines.devices import Machine
from gpunode_engines.engine_pool import EnginePool
from gpunode_engines.memory_plan import Capacity
from gpunode_protocol.identity import Identity
from gpunode_protocol.mesh import (
    Mesh,
    MeshConfig,
    RecordValidator,
    create_mesh,
    load_or_create_identity,
    require_free_ports,
)
from gpunode_protocol.messages import JOB_PROTOCOL, PROBE_PROTOCOL

from gpunode_node.admission_desk import AdmissionDesk
from gpunode_node.advert_builder import AdvertBuilder
from gpunode_node.advert_judge import advert_judge
from gpunode_node.announcer import Announcer
from gpunode_node.config import NodeSettings
from gpunode_node.credentials import CredentialsFile
from gpunode_node.first_contact import meet_tracker, register_or_go_on, wait_for_bootstrap
from gpunode_node.gpu_use import advertised_gpu, gpu_of
from gpunode_node.job_intake import JobIntake
from gpunode_node.job_registry import JobRegistry
from gpunode_node.job_services import JobServices
from gpunode_node.job_session import JobStreams
from gpunode_node.ledger_watch import LedgerWatch
from gpunode_node.memory_watch import MemoryWatch
from gpunode_node.mesh_membership import MeshMembership, join_mesh, wait_for_peers
from gpunode_node.mesh_presence import MeshPresence
from gpunode_node.model_startup import ModelStartup
from gpunode_node.network_state import NetworkState
from gpunode_node.node_adverts import NodeAdverts, StandingSource
from gpunode_node.node_folder import NodeFolder
from gpunode_node.node_parts import NodeParts, vitals_of
from gpunode_node.outbox import Outbox
from gpunode_node.own_place import OwnPlace, own_place
from gpunode_node.pause import Pause, PausedParts
from gpunode_node.probe_server import ProbeStreams
from gpunode_node.region_distances import RegionDistances
from gpunode_node.settler import Settler
from gpunode_node.surroundings import Surroundings
from gpunode_node.tracker_client import TrackerClient
from gpunode_node.tracker_link import SelfDescription, TrackerLink


@dataclass(frozen=True, kw_only=True)
class World(Surroundings):
    """What a node of the mesh takes from outside."""

    create_mesh: Callable[[MeshConfig, RecordValidator], Mesh] = create_mesh
    check_ports: Callable[[MeshConfig], None] = require_free_ports


@dataclass(frozen=True)
class _Introduced:
    """A node that the tracker knows, before anything is loaded."""

    identity: Identity
    network: NetworkState
    link: TrackerLink
    machine: Machine
    place: OwnPlace
    entries: list[CatalogueEntry]


class Startup:
    """Starts one node.

    Args:
        settings: of the node.
        folder: taken.
        world: what comes from outside.
        stack: gets the end of every part; the caller unwinds it, also after a failed start.
    """

    def __init__(self, settings: NodeSettings, folder: NodeFolder, world: World, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._folder = folder
        self._world = world
        self._stack = stack
        self._models = ModelStartup(settings, world, stack)

    async def run(self) -> NodeParts:
        """Start everything up to the mesh; nothing is advertised yet.

        Raises:
            GpunodeError: with what to do.
        """
        settings, world, stack = self._settings, self._world, self._stack
        world.check_ports(self._mesh_config())  # before models are fetched and loaded, which can take long
        known = await self._introduce()
        identity, network, link, machine = known.identity, known.network, known.link, known.machine
        desk, outbox = await self._stores(identity)
        pool = EnginePool(Capacity.of(machine, settings), settings.idle_unload_s)
        models = await self._models.load(known.entries, machine, pool)
        settler = Settler(outbox, link.settle)
        memory = MemoryWatch(settings.memory_max_bytes, world.resident_bytes)
        services = JobServices(
            identity=identity,
            network=lambda: network.view,
            desk=desk,
            outbox=outbox,
            memory=memory,
            outbox_ready=settler.nudge,
            job_time_limit_s=settings.engine_time_limit_s,
            input_limit_bytes=settings.job_input_max_bytes,
            unix_time=world.unix_time,
        )
        registry = JobRegistry()
        stack.push_async_callback(registry.close)
        intake = JobIntake(services, registry, models)
        await wait_for_bootstrap(link, network)  # by now models are loaded, so it rarely takes time
        membership = await self._join(network, intake)
        stack.push_async_callback(membership.mesh.stop)
        mesh, gpu = membership.mesh, advertised_gpu(machine, models)
        distances = RegionDistances(mesh, network, SystemRandom())
        standing = StandingSource(gpu, known.place, network, link, mesh, distances)
        adverts = NodeAdverts(AdvertBuilder(identity, world.unix_time), standing, models)
        announcer = Announcer(mesh.announce, adverts.build, lambda: network.shard_bits, partial(wait_for_peers, mesh))
        pause = self._pause(link, intake, registry, announcer, pool, distances)
        care = self._models.care(pause, pool, models)
        return NodeParts(
            settings=settings,
            identity=identity,
            network=network,
            link=link,
            machine=machine,
            place=known.place,
            models=models,
            pool=pool,
            desk=desk,
            outbox=outbox,
            registry=registry,
            intake=intake,
            memory=memory,
            membership=membership,
            distances=distances,
            announcer=announcer,
            settler=settler,
            pause=pause,
            care=care,
            started_at=world.unix_time(),
            addresses=await mesh.addresses(),
        )

    async def _introduce(self) -> _Introduced:
        """Register at the tracker as what this node will serve. Raises GpunodeError: with what to do."""
        settings = self._settings
        named = self._models.named()
        identity = load_or_create_identity(self._folder.identity)
        network = NetworkState(self._folder.network, settings.network_id)
        link = self._link(identity, network)
        await meet_tracker(link, network)
        machine = await self._models.machine()
        entries = named or [self._models.choose(network.info.default_models, machine)]
        link.describe(_description(settings, machine, entries))
        await register_or_go_on(link)
        place = own_place(settings, link.credentials)
        return _Introduced(identity, network, link, machine, place, entries)

    def _link(self, identity: Identity, network: NetworkState) -> TrackerLink:
        client = TrackerClient(self._settings.tracker, ca_file=self._settings.ca_file)
        self._stack.push_async_callback(client.close)
        watch = LedgerWatch(self._folder.ledger_head, client.consistency)
        file = CredentialsFile(self._folder.worker)
        return TrackerLink(client, identity, network, file, watch, self._world.unix_time)

    async def _stores(self, identity: Identity) -> tuple[AdmissionDesk, Outbox]:
        desk = AdmissionDesk(self._folder.admission, identity.peer_id, self._settings.exposure_microcredits)
        outbox = Outbox(self._folder.outbox)
        await desk.open(self._world.unix_time())
        self._stack.push_async_callback(desk.close)
        await outbox.open()
        self._stack.push_async_callback(outbox.close)
        return desk, outbox

    def _pause(
        self,
        link: TrackerLink,
        intake: JobIntake,
        registry: JobRegistry,
        announcer: Announcer,
        pool: EnginePool,
        distances: RegionDistances,
    ) -> Pause:
        parts = PausedParts(
            intake=intake,
            registry=registry,
            presence=MeshPresence(announcer, lambda: link.beat(vitals_of(announcer, intake, distances))),
            pool=pool,
            file=self._folder.paused,
            drain_timeout_s=self._settings.drain_timeout_s,
        )
        return Pause(parts)

    async def _join(self, network: NetworkState, intake: JobIntake) -> MeshMembership:
        config = replace(self._mesh_config(), bootstrap=network.info.bootstrap)
        handlers = {JOB_PROTOCOL: JobStreams(intake).serve, PROBE_PROTOCOL: ProbeStreams(intake).serve}
        judge = advert_judge(network)
        return await join_mesh(lambda choice: self._world.create_mesh(choice, judge), config, handlers)

    def _mesh_config(self) -> MeshConfig:
        """Return what the settings say of the mesh."""
        settings = self._settings
        return MeshConfig(
            identity_path=self._folder.identity,
            state_dir=self._folder.mesh,
            listen_addresses=settings.listen_addresses,
            announce_addresses=settings.announce_address,
            quic=settings.quic,
        )


def _description(settings: NodeSettings, machine: Machine, entries: list[CatalogueEntry]) -> SelfDescription:
    gpu = gpu_of(machine)
    return SelfDescription(
        name=settings.name,
        region=settings.region,
        country=settings.country,
        gpu_model=gpu.model,
        gpu_memory_mb=gpu.count * gpu.memory_mb,
        tasks=tuple(dict.fromkeys(entry.task for entry in entries)),
    )
