"""``python -m gpunode_benchmarks.lab.main ORDER``: becomes the lab's process. ORDER is a ``LabOrder`` in JSON.

One line of JSON on standard output says ``{"ready": true}``, ``{"unavailable": why}`` or ``{"failed": why}``.
"""

import gc
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Final

from gpunode_benchmarks.lab.forwarder import run_forwarder
from gpunode_benchmarks.lab.kernel import CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, mount_own_proc, unshare
from gpunode_benchmarks.lab.lab_folders import control_of, world_file_of
from gpunode_benchmarks.lab.lab_process import LabOrder
from gpunode_benchmarks.lab.messages import close_all, message_pair, message_socket
from gpunode_benchmarks.lab.server import LabServer
from gpunode_benchmarks.lab.tun import HostNetwork, make_network
from gpunode_benchmarks.lab.world import World

_BACKLOG: Final = 64


def main(argument: str) -> None:
    """Move into namespaces of its own; the process that was started ends, its child is the lab."""
    order = LabOrder(**json.loads(argument))
    try:
        unshare(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET)
        if os.fork():
            return  # the caller waits for the line, not for this process
        mount_own_proc()
        world = World.model_validate_json(world_file_of(Path(order.folder)).read_text(encoding="utf-8"))
        networks = {host: make_network(world.address_of(host)) for host in world.hosts}
        unshare(CLONE_NEWNET)  # out of the last host's network, into one with nothing in it
    except OSError as error:
        _say({"unavailable": str(error)})
        return
    try:
        server = _make_server(order, world, networks)
    except Exception as error:
        _say({"failed": f"{type(error).__name__}: {error}"})
        raise
    _say({"ready": True})
    os.dup2(2, 1)  # the caller's pipe ends here
    server.run()


def _make_server(order: LabOrder, world: World, networks: dict[str, HostNetwork]) -> LabServer:
    folder = Path(order.folder)
    ours, theirs = message_pair()
    sys.stderr.flush()
    forwarder_pid = os.fork()
    if forwarder_pid == 0:
        ours.close()
        devices = {host: network.device for host, network in networks.items()}
        run_forwarder(world, devices, theirs, real_time=order.real_time)
    theirs.close()
    close_all([network.device for network in networks.values()])
    for module in order.preload:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # forks share what nobody touches
    for host in world.hosts:
        (folder / host).mkdir()
    listener = message_socket()
    listener.bind(str(control_of(folder)))
    listener.listen(_BACKLOG)
    namespaces = {host: (network.namespace, os.fstat(network.namespace).st_ino) for host, network in networks.items()}
    return LabServer(folder, namespaces, (forwarder_pid, ours), listener, None if order.stays else 0)


def _say(line: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
