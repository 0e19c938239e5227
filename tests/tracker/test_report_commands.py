"""The command on what clients report of nodes."""

import asyncio
from pathlib import Path

from gpunode_protocol.identity import Identity
from gpunode_protocol.tracker_api import ReportRequest
from gpunode_tracker.administration import administration
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.storage.reports import add_report

from tests.tracker.operator_commands import account, run, run_json
from tests.tracker.parties import job_id

NODE = Identity.from_seed(b"\x01" * 32).peer_id


def _report(data_dir: Path, owner: str, kind: str) -> None:
    report = ReportRequest.model_validate({"node": NODE, "job": job_id(1), "segment": 0, "kind": kind})

    async def add() -> None:
        settings = TrackerSettings.load({"data_dir": data_dir})
        async with administration(settings) as admin, admin.database.write() as connection:
            await add_report(connection, owner, report, received_at=int(admin.clock()))

    asyncio.run(add())


def test_reports_are_told_by_node_and_reason(data_dir: Path) -> None:
    """As JSON and for people; narrowed by node and time."""
    owner = account(data_dir)
    assert "There are no such reports." in run(data_dir, "reports").stdout
    for kind in ("bad_digest", "bad_digest", "bad_usage"):
        _report(data_dir, owner, kind)
    told = run_json(data_dir, "reports", "--hours", "1", "--node", NODE)["reports"]
    assert {(each["kind"], each["node"], each["reports"], each["accounts"]) for each in told} == {
        ("bad_digest", NODE, 2, 1),
        ("bad_usage", NODE, 1, 1),
    }
    assert len(run_json(data_dir, "reports", "--limit", "1")["reports"]) == 1
    assert "bad_digest" in run(data_dir, "reports").stdout
    assert run_json(data_dir, "reports", "--node", owner)["reports"] == []
