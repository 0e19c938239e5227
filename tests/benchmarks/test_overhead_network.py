import pytest
from gpunode.demo.children import DemoFailed
from gpunode_benchmarks import overhead_network as overhead_network_module
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.overhead_engines import MODEL
from gpunode_benchmarks.overhead_network import OverheadNetwork, overhead_network
from gpunode_benchmarks.overhead_paced import MODEL as PACED_MODEL


async def test_the_engines_of_a_running_node_can_be_called_directly(overhead: OverheadNetwork) -> None:
    """The same child that the network uses: the line is served by the node's process."""
    async with overhead.direct_line() as calls:
        elapsed_s, ttft_s = await calls.run(PACED_MODEL, ["a", "b"], 3)
    assert len(ttft_s) == 2
    assert 0 < max(ttft_s) < elapsed_s


async def test_a_direct_job_that_fails_is_told(overhead: OverheadNetwork) -> None:
    """An unknown model ends the line, and the node goes on."""
    async with overhead.direct_line() as calls:
        with pytest.raises(BenchmarkFailed):
            await calls.run("unknown", ["a"], 1)
    async with overhead.direct_line() as calls:
        assert (await calls.run(PACED_MODEL, ["a"], 1))[1]


async def test_clients_have_keys_of_their_own(overhead: OverheadNetwork) -> None:
    """A node serves one peer only some streams at once."""
    async with overhead.client(MODEL, "a") as one, overhead.client(MODEL, "b") as other:
        assert {node.node for node in await one.nodes(model=MODEL)} == {overhead.run["peer_id"]}
        assert one._session is not other._session
    keys = [(overhead.folder / f"c{name}" / "identity.key").read_bytes() for name in "ab"]
    assert keys[0] != keys[1]


def test_a_process_that_cannot_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the bench's words, with what the process said."""

    def fail(*_: object) -> str:
        raise DemoFailed("no space left")

    monkeypatch.setattr(overhead_network_module, "start_tracker", fail)
    with pytest.raises(BenchmarkFailed, match="no space left"), overhead_network((MODEL,)):
        pass
