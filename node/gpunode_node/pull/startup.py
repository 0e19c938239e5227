"""Starting the parts of a pull worker in order. Each is pushed on the caller's stack, which ends them in reverse."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from gpunode_engines.catalogue import CatalogueEntry
from gpunode_engines.devices import Machine
from gpunode_engines.engine_pool import EnginePool
from gpunode_engines.memory_plan import Capacity
from gpunode_protocol.identity import Identity
from gpunode_protocol.keyfile import load_or_create_identity

from gpunode_node.admission_desk import AdmissionDesk
from gpunode_node.config import NodeSettings
from gpunode_node.delivery import Delivery
from gpunode_node.first_contact import meet_tracker, register_or_go_on
from gpunode_node.gpu_use import gpu_of
from gpunode_node.job_intake import JobIntake
from gpunode_node.job_registry import JobRegistry
from gpunode_node.job_services import JobServices
from gpunode_node.memory_watch import MemoryWatch
from gpunode_node.model_startup import ModelStartup
from gpunode_node.network_state import NetworkState
from gpunode_node.node_folder import NodeFolder
from gpunode_node.pause import Pause, PausedParts
from gpunode_node.pull.completions import Completion, CompletionOutbox, VoucherlessOutbox
from gpunode_node.pull.courier import Courier
from gpunode_node.pull.parts import PullParts
from gpunode_node.pull.presence import WorkerPresence
from gpunode_node.pull.taker import Taker
from gpunode_node.pull.vitals import Vitals
from gpunode_node.pull.workbench import Workbench
from gpunode_node.pull.worker_client import WorkerClient
from gpunode_node.pull.worker_file import WorkerFile
from gpunode_node.pull.worker_link import WorkerDescription, WorkerLink
from gpunode_node.surroundings import Surroundings


@dataclass(frozen=True)
class _Introduced:
    """A worker that the tracker knows, before anything is loaded."""

    identity: Identity
    network: NetworkState
    link: WorkerLink
    machine: Machine
    entries: list[CatalogueEntry]


class PullStartup:
    """Starts one pull worker.

    Args:
        settings: of the node.
        folder: taken.
        surroundings: what comes from outside.
        stack: gets the end of every part; the caller unwinds it, also after a failed start.
    """

    def __init__(
        self, settings: NodeSettings, folder: NodeFolder, surroundings: Surroundings, stack: AsyncExitStack
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._surroundings = surroundings
        self._stack = stack
        self._models = ModelStartup(settings, surroundings, stack)

    async def run(self) -> PullParts:
        """Start everything; no job is taken yet.

        Raises:
            GpunodeError: with what to do.
        """
        settings, stack = self._settings, self._stack
        known = await self._introduce()
        desk = AdmissionDesk(
            self._folder.admission, known.identity.peer_id, settings.exposure_microcredits, Delivery.WHOLE
        )
        await desk.open(self._surroundings.unix_time())
        stack.push_async_callback(desk.close)
        outbox = CompletionOutbox(self._folder.completions)
        undelivered = await outbox.open()
        stack.push_async_callback(outbox.close)
        pool = EnginePool(Capacity.of(known.machine, settings), settings.idle_unload_s)
        models = await self._models.load(known.entries, known.machine, pool)
        memory = MemoryWatch(settings.memory_max_bytes, self._surroundings.resident_bytes)
        registry = JobRegistry()
        stack.push_async_callback(registry.close)
        intake = JobIntake(self._services(known, desk, outbox, memory), registry, models)
        courier = Courier(outbox, known.link.complete)
        bench = self._bench(known.link, intake, courier, undelivered)
        outbox.on_problem = bench.bell.ring
        vitals = Vitals(intake, bench, self._surroundings.detect_machine, settings.heartbeat_interval_s)

        async def beat() -> bool:
            return await known.link.beat(await vitals.now())

        async def beat_between_polls() -> bool:
            return await known.link.beat(await vitals.between_polls())

        pause = Pause(
            PausedParts(
                intake=intake,
                registry=registry,
                presence=WorkerPresence(beat, bench.bell),
                pool=pool,
                file=self._folder.paused,
                drain_timeout_s=settings.drain_timeout_s,
            )
        )
        return PullParts(
            settings=settings,
            identity=known.identity,
            network=known.network,
            link=known.link,
            machine=known.machine,
            models=models,
            pool=pool,
            desk=desk,
            outbox=outbox,
            courier=courier,
            registry=registry,
            intake=intake,
            memory=memory,
            bench=bench,
            vitals=vitals,
            taker=Taker(known.link.next_job, vitals.offer, beat_between_polls, bench.begin, bench.bell),
            pause=pause,
            care=self._models.care(pause, pool, models),
            started_at=self._surroundings.unix_time(),
        )

    async def _introduce(self) -> _Introduced:
        """Register at the tracker as what this worker will serve. Raises GpunodeError: with what to do."""
        settings = self._settings
        named = self._models.named()
        identity = load_or_create_identity(self._folder.identity)
        network = NetworkState(self._folder.network, settings.network_id)
        client = WorkerClient(settings.tracker, ca_file=settings.ca_file)
        self._stack.push_async_callback(client.close)
        link = WorkerLink(client, identity, network, WorkerFile(self._folder.pull), self._surroundings.unix_time)
        await meet_tracker(link, network)
        machine = await self._models.machine()
        entries = named or [self._models.choose(network.info.default_models, machine)]
        link.describe(_description(settings, machine, entries))
        await register_or_go_on(link)
        return _Introduced(identity, network, link, machine, entries)

    def _services(
        self, known: _Introduced, desk: AdmissionDesk, outbox: CompletionOutbox, memory: MemoryWatch
    ) -> JobServices:
        settings = self._settings
        return JobServices(
            identity=known.identity,
            network=lambda: known.network.view,
            desk=desk,
            outbox=VoucherlessOutbox(outbox),
            memory=memory,
            outbox_ready=lambda: None,
            delivery=Delivery.WHOLE,
            job_time_limit_s=settings.engine_time_limit_s,
            input_limit_bytes=settings.job_input_max_bytes,
            unix_time=self._surroundings.unix_time,
        )

    def _bench(
        self, link: WorkerLink, intake: JobIntake, courier: Courier, undelivered: tuple[Completion, ...]
    ) -> Workbench:
        bench = Workbench(intake, courier, link.tell)
        self._stack.push_async_callback(bench.close)
        bench.deliver(undelivered)
        link.on_lost = bench.lose
        link.on_return = courier.retry_now
        return bench


def _description(settings: NodeSettings, machine: Machine, entries: list[CatalogueEntry]) -> WorkerDescription:
    gpu = gpu_of(machine)
    return WorkerDescription(
        name=settings.name,
        region=settings.region,
        country=settings.country,
        gpu_model=gpu.model,
        gpu_memory_bytes=sum(card.memory_bytes for card in machine.gpus if card.name == machine.gpus[0].name),
        tasks=tuple(dict.fromkeys(entry.task for entry in entries)),
        models=tuple(entry.name for entry in entries),
    )
