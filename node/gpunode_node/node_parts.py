"""The parts of a running node that others look at: status, control commands, shutdown."""

from dataclasses import dataclass, field

import psutil  # type: ignore[import-untyped]  # -- ships no annotations
from gpunode_engines.devices import Machine
from gpunode_engines.engine_pool import EnginePool
from gpunode_protocol.identity import Identity

from gpunode_node.admission_desk import AdmissionDesk
from gpunode_node.announcer import Announcer
from gpunode_node.config import NodeSettings
from gpunode_node.gpu_use import MEBIBYTE
from gpunode_node.host_care import HostCare
from gpunode_node.job_intake import JobIntake
from gpunode_node.job_registry import JobRegistry
from gpunode_node.memory_watch import MemoryWatch
from gpunode_node.mesh_membership import MeshMembership
from gpunode_node.network_state import NetworkState
from gpunode_node.outbox import Outbox
from gpunode_node.own_place import OwnPlace
from gpunode_node.pause import Pause
from gpunode_node.region_distances import RegionDistances
from gpunode_node.served_model import ServedModel
from gpunode_node.settler import Settler
from gpunode_node.tracker_link import TrackerLink, Vitals


@dataclass(kw_only=True)
class NodeParts:
    """All parts, started. started_at: Unix seconds."""

    settings: NodeSettings
    identity: Identity
    network: NetworkState
    link: TrackerLink
    machine: Machine
    place: OwnPlace
    models: list[ServedModel]
    pool: EnginePool
    desk: AdmissionDesk
    outbox: Outbox
    registry: JobRegistry
    intake: JobIntake
    memory: MemoryWatch
    membership: MeshMembership
    distances: RegionDistances
    announcer: Announcer
    settler: Settler
    pause: Pause
    care: HostCare
    started_at: float
    addresses: tuple[str, ...] = field(default=())


def vitals_of(announcer: Announcer, intake: JobIntake, distances: RegionDistances) -> Vitals:
    """Return what a heartbeat says now."""
    memory = psutil.virtual_memory()
    busy = all(model.scheduler.active >= model.scheduler.slots for model in intake.models)
    return Vitals(
        adverts=announcer.adverts,
        busy=busy,
        paused=intake.paused,
        memory_used_mb=int(memory.total - memory.available) // MEBIBYTE,
        memory_total_mb=int(memory.total) // MEBIBYTE,
        round_trips=distances.round_trips,
    )
