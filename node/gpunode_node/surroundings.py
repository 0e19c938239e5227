"""What a node takes from outside, however its jobs come to it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from gpunode_engines.catalogue import CatalogueEntry
from gpunode_engines.devices import Machine, detect_machine
from gpunode_engines.gpu_readings import GpuMeter, NvmlMeter

from gpunode_node.memory_watch import own_resident_bytes
from gpunode_node.model_loading import EngineFactory
from gpunode_node.process_life import keep_for_good


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Tests put their own in.

    resolve_model: what a name means, None = as the catalogue and the user's models file say. create_engine: None = the
    catalogue's engines in child processes. meter: of the graphics cards. resident_bytes: of this process. unix_time:
    seconds. at_ready: called when all of the node is there.
    """

    resolve_model: Callable[[str], CatalogueEntry] | None = None
    create_engine: EngineFactory | None = None
    detect_machine: Callable[[], Machine] = detect_machine
    meter: GpuMeter = field(default_factory=NvmlMeter)
    resident_bytes: Callable[[], int] = own_resident_bytes
    unix_time: Callable[[], float] = field(default=time.time)
    at_ready: Callable[[], None] = keep_for_good
