"""The parts of a running pull worker that others look at: status, control commands, shutdown."""

from dataclasses import dataclass

from gpunode_engines.devices import Machine
from gpunode_engines.engine_pool import EnginePool
from gpunode_protocol.identity import Identity

from gpunode_node.admission_desk import AdmissionDesk
from gpunode_node.config import NodeSettings
from gpunode_node.host_care import HostCare
from gpunode_node.job_intake import JobIntake
from gpunode_node.job_registry import JobRegistry
from gpunode_node.memory_watch import MemoryWatch
from gpunode_node.network_state import NetworkState
from gpunode_node.pause import Pause
from gpunode_node.pull.completions import CompletionOutbox
from gpunode_node.pull.courier import Courier
from gpunode_node.pull.taker import Taker
from gpunode_node.pull.vitals import Vitals
from gpunode_node.pull.workbench import Workbench
from gpunode_node.pull.worker_link import WorkerLink
from gpunode_node.served_model import ServedModel


@dataclass(kw_only=True)
class PullParts:
    """All parts, started. started_at: Unix seconds."""

    settings: NodeSettings
    identity: Identity
    network: NetworkState
    link: WorkerLink
    machine: Machine
    models: list[ServedModel]
    pool: EnginePool
    desk: AdmissionDesk
    outbox: CompletionOutbox
    courier: Courier
    registry: JobRegistry
    intake: JobIntake
    memory: MemoryWatch
    bench: Workbench
    vitals: Vitals
    taker: Taker
    pause: Pause
    care: HostCare
    started_at: float
