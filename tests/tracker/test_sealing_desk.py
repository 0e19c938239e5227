"""What the operator does with sealing keys is noted, by ids."""

from gpunode_tracker.administration import Administration
from gpunode_tracker.sealing_key_file import NOTICED_S, SEALING_KEYS_FILE, read_key_file
from gpunode_tracker.storage.audit import AuditFilter, newest_records
from gpunode_tracker.tracker import Tracker

from tests.tracker.parties import TestClock


async def test_every_step_is_in_the_audit_log(tracker: Tracker, clock: TestClock) -> None:
    """With the keys' ids, never the keys; nothing to drop is no step."""
    desk = Administration(tracker.settings, tracker.database, tracker.keys, tracker.clock).sealing
    (old,) = read_key_file(tracker.settings.data_dir / SEALING_KEYS_FILE).keys
    await desk.drop_old()
    prepared = (await desk.prepare()).prepared
    await desk.rotate()
    clock.advance(NOTICED_S)
    await desk.drop_old()
    async with tracker.database.read() as connection:
        records = await newest_records(connection, AuditFilter(), before_id=2**62, limit=10)
    assert prepared is not None
    subject = f"sealing_key:{prepared.hex()}"
    assert [(record.action, record.subject) for record in reversed(records)] == [
        ("sealing_key_prepared", subject),
        ("sealing_key_rotated", subject),
        ("sealing_keys_dropped", subject),
    ]
    assert records[0].detail == {"dropped": old.id.hex()}
