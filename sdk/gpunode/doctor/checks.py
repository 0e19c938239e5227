"""The client's checks."""

from collections.abc import Sequence
from functools import partial

from gpunode_protocol.diagnosis import Check, Subject


def checks(subject: Subject) -> Sequence[Check]:
    """Return the checks of folder, clock, tracker, grant and mesh; see the entry-point group ``gpunode.checks``."""
    from gpunode.doctor.grant_check import check_grant  # noqa: PLC0415 -- aiohttp takes its time
    from gpunode.doctor.mesh_checks import MESH_DEADLINE_S, check_mesh, check_p2pd  # noqa: PLC0415 -- as above
    from gpunode.doctor.state_check import check_state  # noqa: PLC0415 -- as above
    from gpunode.doctor.tracker_checks import check_clock, check_tracker  # noqa: PLC0415 -- as above
    from gpunode.doctor.tracker_facts import TrackerFacts  # noqa: PLC0415 -- as above

    facts = TrackerFacts(subject)
    load = facts.check_settings
    return (
        Check(name="state", run=partial(check_state, facts), load_settings=load),
        Check(name="clock", run=partial(check_clock, facts), load_settings=load),
        Check(name="tracker", run=partial(check_tracker, facts), load_settings=load),
        Check(name="grant", run=partial(check_grant, facts), load_settings=load),
        Check(name="p2pd", run=check_p2pd, extra="mesh", deadline_s=MESH_DEADLINE_S),
        Check(
            name="mesh",
            run=partial(check_mesh, facts),
            load_settings=load,
            extra="mesh",
            deadline_s=MESH_DEADLINE_S,
        ),
    )
