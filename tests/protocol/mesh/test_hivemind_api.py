import logging

from gpunode_protocol.mesh import _hivemind_api


def test_guard_is_in_force_as_soon_as_hivemind_is() -> None:
    """No DHT object can exist before the depth limit."""
    assert _hivemind_api.MSGPackSerializer._depth_is_limited


def test_hivemind_does_not_print_by_itself() -> None:
    """Its messages go the way of all others, and the name of the level stays."""
    logger = logging.getLogger("hivemind")
    assert (logger.handlers, logger.propagate) == ([], True)
    assert logging.getLevelName(logging.WARNING) == "WARNING"
