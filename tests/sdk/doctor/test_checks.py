from gpunode.doctor.checks import checks
from gpunode_protocol.diagnosis import Subject


def test_what_needs_the_mesh_says_so() -> None:
    """The base installation has the others."""
    extras = {check.name: check.extra for check in checks(Subject())}
    assert extras == {"clock": "", "tracker": "", "grant": "", "p2pd": "mesh", "mesh": "mesh"}
