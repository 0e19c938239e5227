"""The files that are written, in a folder that stands for /sys/fs/cgroup; and the kernel's own where it lets us."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_engines import memory_cgroup
from gpunode_engines.errors import MemoryLimit
from gpunode_engines.memory_cgroup import MAX_TASKS, MemoryCgroup

from tests.engines.scripted_engine import QUICK_LIMITS, ask, collect, running_scripted_engine, text_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A hierarchy with a unit, which holds the node's own group."""
    (tmp_path / "unit" / "node").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "unit", tmp_path / "unit" / "node"):
        (folder / "cgroup.subtree_control").write_text("memory pids\n")
    return tmp_path


def own(root: Path, line: str) -> Path:
    """Return a file like /proc/self/cgroup."""
    path = root / "own"
    path.write_text(f"1:name=systemd:/\n{line}\n")
    return path


def test_a_group_in_the_own_one(root: Path) -> None:
    """Limit, no swap, all of it is ended at once, a process is moved in."""
    group = MemoryCgroup.create("engine-1", 1 << 30, root=root, own=own(root, "0::/unit/node"))
    assert group is not None
    assert group.folder == root / "unit" / "node" / "engine-1"
    assert group.add(42)
    written = {path.name: path.read_text() for path in group.folder.iterdir()}
    assert written == {
        "memory.max": str(1 << 30),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": str(MAX_TASKS),
        "cgroup.procs": "42",
    }


def test_a_delegated_unit_is_divided_beside_the_node(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the own group cannot be divided because processes are in it. Others' groups are left alone."""
    (root / "unit" / "node" / "cgroup.subtree_control").unlink()
    (root / "unit" / "cgroup.subtree_control").write_text("")
    file = own(root, "0::/unit/node")
    assert MemoryCgroup.create("e", 1, root=root, own=file) is None
    marked = {root / "unit": b"1"}
    monkeypatch.setattr(memory_cgroup.os, "getxattr", lambda path, _: marked[path])
    group = MemoryCgroup.create("e", 1, root=root, own=file)
    assert group is not None
    assert group.folder == root / "unit" / "e"
    assert (root / "unit" / "cgroup.subtree_control").read_text() == "+pids"  # the kernel adds, a file is replaced


@pytest.mark.parametrize("line", ["4:memory:/old", "0::/nowhere"])
def test_where_there_can_be_none(root: Path, line: str) -> None:
    """Version 1, or a group that is not to be seen from here."""
    assert MemoryCgroup.create("e", 1, root=root, own=own(root, line)) is None
    assert MemoryCgroup.create("e", 1, root=root, own=root / "missing") is None


def test_what_is_in_use_or_gone_is_no_failure(root: Path) -> None:
    """Removing and adding tell nothing new then."""
    group = MemoryCgroup(root / "unit")
    group.remove()
    assert group.folder.exists()
    gone = MemoryCgroup(root / "gone")
    gone.remove()
    assert not gone.add(1)


def test_what_the_kernel_ended_is_counted(root: Path) -> None:
    """As it tells; none where it does not."""
    group = MemoryCgroup(root / "unit")
    assert group.kills() == 0
    (root / "unit" / "memory.events").write_text("max 7\noom 3\noom_kill 2\noom_group_kill 1\n")
    assert group.kills() == 2


@pytest.fixture
def _groups_can_be_made() -> None:
    """Skip where the kernel, or its owner, does not let us."""
    probe = MemoryCgroup.create(f"gpunode-test-{os.getpid()}", 1 << 30)
    if probe is None:
        pytest.skip("no cgroup of version 2 can be made here")
    probe.remove()


@pytest.mark.usefixtures("_groups_can_be_made")
async def test_an_engine_runs_in_its_group_where_the_kernel_lets_us() -> None:
    """It is removed with the engine."""
    async with running_scripted_engine() as engine:
        path = Path(f"/proc/{engine.pid}/cgroup").read_text(encoding="ascii").splitlines()[-1].removeprefix("0::/")
        folder = memory_cgroup.CGROUPS / path
        assert (folder / "memory.max").read_text().strip() == str(QUICK_LIMITS.rss_bytes)
        assert text_of(await collect(engine, ask("hi"))) == "hi"
    assert not folder.exists()


@pytest.mark.usefixtures("_groups_can_be_made")
async def test_the_kernel_ends_what_wants_more_than_its_group_may_have() -> None:
    """Long before anybody looks at it: the job fails with the cause, another engine goes on, the next job works."""
    limits = replace(QUICK_LIMITS, rss_bytes=160 << 20, heartbeat_s=30.0, silence_s=90.0)
    async with running_scripted_engine(limits) as engine, running_scripted_engine() as other:
        with pytest.raises(MemoryLimit, match="160 MiB of memory that are allowed"):
            await collect(engine, ask("gorge"))
        assert text_of(await collect(other, ask("hi"))) == "hi"
        await engine.wait_healthy()
        assert text_of(await collect(engine, ask("hi"))) == "hi"
        assert (engine.restarts, other.restarts) == (1, 0)
