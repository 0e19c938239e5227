"""The node's checks for ``gpunode doctor``."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gpunode_engines.own_models import known_models
from gpunode_protocol.diagnosis import DEADLINE_S, Check, Finding, Subject, ok, skipped, warning
from gpunode_protocol.folder_check import GIB, judge_folder, look_at_folder
from gpunode_protocol.keyfile import load_identity
from gpunode_protocol.tasks import Task

from gpunode_node.certificate_check import check_certificate
from gpunode_node.doctor_facts import NodeFacts
from gpunode_node.reachability_check import check_ports, check_reachability

if TYPE_CHECKING:
    from gpunode_engines.devices import Machine

DATA_BYTES = 64 * 1024**2
"""The databases of a node are some megabytes, and each of their write-ahead logs as much again."""
REACHABILITY_DEADLINE_S = 60.0
"""Joining takes up to 10 s per dead bootstrap peer, dialling back 8 s, and importing hivemind its time."""


def checks(subject: Subject) -> Sequence[Check]:
    """Return the checks; see the entry-point group ``gpunode.checks``."""
    facts = NodeFacts(subject)
    runs = {
        "node": check_node,
        "data": check_data,
        "ports": check_ports,
        "certificate": check_certificate,
        "reachability": check_reachability,
        "memory": check_memory,
    }
    return tuple(
        Check(
            name=name,
            run=partial(run, facts),
            load_settings=facts.usable_settings,
            extra="node",
            deadline_s=REACHABILITY_DEADLINE_S if run is check_reachability else DEADLINE_S,
        )
        for name, run in runs.items()
    )


def check_node(facts: NodeFacts) -> Finding:
    """Ask the running node what is wrong with it."""
    status = facts.status()
    if status is None:
        return skipped(f"No node runs in {facts.folder().path}.")
    return judge_status(status)


def judge_status(status: Mapping[str, Any]) -> Finding:
    """Judge what ``gpunode status`` says."""
    models = ", ".join(model["name"] for model in status["models"])
    told = f"Runs as {status['peer_id']} and serves {models}"
    problems = status["problems"]
    if not problems:
        return ok(f"{told}.")
    what, _, fix = str(problems[0]).partition(". ")
    more = f" And {len(problems) - 1} more." if len(problems) > 1 else ""
    return warning(f"{told}, but: {what}.{more}", fix or "See 'gpunode status' and the node's log.")


def check_data(facts: NodeFacts) -> Finding:
    """Look at the node's folder and the key in it."""
    folder = facts.folder()
    if folder.identity.exists():
        load_identity(folder.identity)
    return judge_folder(
        look_at_folder(folder.path),
        needed_bytes=DATA_BYTES,
        needed_for="what a node keeps",
        move_with="--data-dir or GPUNODE_DATA_DIR",
    )


def check_memory(facts: NodeFacts) -> Finding:
    """See whether the models that a start would serve fit."""
    from gpunode_engines.devices import detect_machine  # noqa: PLC0415 -- imports psutil, of the extra
    from gpunode_engines.plan import wanted_memory_bytes  # noqa: PLC0415 -- as above

    machine = detect_machine()
    if facts.status() is not None:
        return ok(f"The running node has its models loaded; {_gib(machine.available_memory_bytes)} are available.")
    settings, network = facts.settings(), facts.network()
    default = network.default_models.get(Task.LLM) if network is not None else None
    names = settings.model or ((default,) if default else ())
    if not names:
        return skipped("It is not known which models a node would serve here: none is set, and no tracker answers.")
    models = known_models(settings)
    needed = sum(wanted_memory_bytes(models.resolve(name), settings, machine) for name in names)
    return judge_memory(machine, ", ".join(names), needed, use_gpu=settings.engine_gpu)


def judge_memory(machine: "Machine", names: str, needed_bytes: int, *, use_gpu: bool) -> Finding:
    """Judge whether models that take ``needed_bytes`` (estimated) fit into the cards' memory, or into the machine's."""
    on_gpu = use_gpu and bool(machine.gpus)
    free = sum(gpu.free_memory_bytes for gpu in machine.gpus) if on_gpu else machine.available_memory_bytes
    what = f"{_gib(free)} of {'GPU memory' if on_gpu else 'memory'} are available"
    if needed_bytes > free:
        return warning(
            f"{what}; {names} with all slots takes about {_gib(needed_bytes)}.",
            "Close other programs, choose a smaller model with --model, or fewer slots with --slots.",
        )
    return ok(f"{what}; {names} takes about {_gib(needed_bytes)}.")


def _gib(count: int) -> str:
    return f"{count / GIB:.1f} GiB"
