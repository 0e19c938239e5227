import asyncio
import json
from pathlib import Path

import psutil
import pytest
from gpunode_benchmarks.flood_attacker import PAYLOADS, lower_priority
from gpunode_benchmarks.flood_scene import attacker_of
from gpunode_benchmarks.overhead_network import OverheadNetwork


@pytest.mark.full
async def test_orders_are_obeyed_one_by_one(overhead: OverheadNetwork) -> None:
    """Open, look, close: what it says adds up, and after closing it holds none."""
    with attacker_of(overhead, nice=3) as socket:
        reader, writer = await asyncio.open_unix_connection(str(socket))

        async def give(**order: object) -> dict[str, float]:
            writer.write(json.dumps(order).encode() + b"\n")
            answer: dict[str, float] = json.loads(await reader.readline())
            return answer

        run = json.loads((socket.parent / "run.json").read_text())
        attacker = psutil.Process(run["pid"])
        assert [process.nice() for process in (attacker, *attacker.children())] == [3, 3]  # its p2pd too
        opened = await give(open=len(PAYLOADS), limit_s=20.0)
        assert (opened["opened"], opened["not_opened"]) == (len(PAYLOADS), 0)
        seen = await give(look=1.0)
        assert sum(seen.values()) == len(PAYLOADS)
        assert await give(close=True) == {}
        assert sum((await give(look=0.1)).values()) == 0
        writer.close()


async def test_a_priority_counts_between_sessions() -> None:
    """Where the kernel groups processes by session, the group has the niceness too."""
    process = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
    try:
        await lower_priority(process.pid, 19)
        assert psutil.Process(process.pid).nice() == 19
        group = Path(f"/proc/{process.pid}/autogroup")
        assert not group.exists() or group.read_text().endswith("nice 19\n")
    finally:
        process.kill()
        await process.wait()
