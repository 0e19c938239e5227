"""What a node takes from outside."""

import time

import psutil
from gpunode_node.surroundings import Surroundings


def test_the_real_ones() -> None:
    """This computer's clock, memory and cards."""
    real = Surroundings()
    assert abs(real.unix_time() - time.time()) < 60
    assert real.detect_machine().memory_bytes == psutil.virtual_memory().total
    assert real.resident_bytes() > 0
    assert isinstance(real.meter.read(), tuple)
