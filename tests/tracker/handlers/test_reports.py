"""Complaints are kept for the operator."""

from gpunode_protocol import tracker_api as api
from gpunode_protocol.identity import Identity
from gpunode_tracker.storage.tables import reports
from sqlalchemy import select

from tests.tracker.conftest import World
from tests.tracker.parties import job_id


async def test_a_report_is_kept(world: World) -> None:
    """With an API key; without one it is refused."""
    node = Identity.generate().peer_id
    report = api.ReportRequest(node=node, job=job_id(1), segment=0, kind="bad_digest", evidence=b"\x00\xff")
    _, key = await world.account()
    assert (await world.post(api.REPORTS_PATH, report)).status == 401
    assert (await world.post(api.REPORTS_PATH, report, key=key)).status == 204
    async with world.tracker.database.read() as connection:
        assert list((await connection.execute(select(reports.c.node))).scalars()) == [node]
