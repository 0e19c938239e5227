"""Holding torch to the part of the graphics cards that their owner gives."""

from typing import Any

from gpunode_engines.ipc import BackendOptions


def keep_to_share(torch: Any, options: BackendOptions) -> None:
    """Let this process take no more of each card than its share; a job that needs more fails as out of memory.

    Args:
        torch: the module, with CUDA. It counts what its own allocator takes; the libraries' own hundreds of MB not.
        options: of the model.
    """
    if options.card_share >= 1:
        return
    for index in range(torch.cuda.device_count()):
        torch.cuda.set_per_process_memory_fraction(options.card_share, index)
