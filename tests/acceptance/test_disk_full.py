"""A node whose disk is full."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpunode import InferenceClient, NoNodeFound

from tests.acceptance.network import Network, is_idle, status_of, wait_settled
from tests.acceptance.processes import Daemon, wait_until

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk"),
]

REGION = "africa"
STORY = [{"role": "user", "content": "Tell me a long story about a fox."}]


@pytest.fixture
def node(network: Network) -> Iterator[Daemon]:
    """Run one more node on a disk of 2 MiB."""
    folder = network.folder / "small-disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "gpunode-test", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    extra = network.add_node(REGION, name=folder.name)
    try:
        extra.wait_ready()
        yield extra
    finally:
        extra.stop()
        subprocess.run(["umount", str(folder)], check=True)


def _fill(folder: Path) -> Path:
    """Write until nothing more fits; return the file that takes the place."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                pass
    return filler


@pytest.mark.full
def test_a_full_disk(node: Daemon, client: InferenceClient) -> None:
    """The running job is finished, its vouchers are kept in memory; new ones are refused until there is room again."""
    with client.chat(messages=STORY, region=REGION, max_tokens=200, temperature=0, stream=True) as chunks:
        next(chunks)
        filler = _fill(node.data_dir)
        list(chunks)
        result = chunks.result
    assert result.receipt.verified
    wait_until(lambda: status_of(node)["outbox"]["problem"], "the node notices")
    assert status_of(node)["outbox"]["unwritten"] == 1
    with pytest.raises(NoNodeFound, match="disk"):
        client.chat(messages=STORY, region=REGION, max_tokens=1)
    filler.unlink()
    wait_until(lambda: is_idle(node) and not status_of(node)["problems"], "the node has recovered")
    assert len(wait_settled(client, result.job)) == 1
    assert client.chat(messages=STORY, region=REGION, max_tokens=1).receipt.verified
