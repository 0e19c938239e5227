import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_node.doctor import (
    REACHABILITY_DEADLINE_S,
    check_data,
    check_memory,
    check_node,
    checks,
    judge_memory,
    judge_status,
)
from gpunode_node.doctor_facts import NodeFacts
from gpunode_protocol.diagnosis import DEADLINE_S, Subject
from gpunode_protocol.mesh import IdentityFileError, load_or_create_identity

from tests.node.fake_tracker import running_tracker
from tests.node.running_daemon import MACHINE, FakeWorld, running_daemon, settings_of
from tests.node.world import NODE

GIB = 1024**3
CPU_ONLY = replace(MACHINE, gpus=())


def test_all_need_the_nodes_packages() -> None:
    """Where only the SDK is installed, they say which extra brings them."""
    found = checks(Subject())
    assert [check.name for check in found] == ["node", "data", "ports", "certificate", "reachability", "memory"]
    assert {check.extra for check in found} == {"node"}
    assert {check.name: check.deadline_s for check in found if check.deadline_s != DEADLINE_S} == {
        "reachability": REACHABILITY_DEADLINE_S
    }
    assert len({check.load_settings for check in found} - {None}) == 1


async def test_a_running_node(tmp_path: Path) -> None:
    """Who it is and what it serves; its models are loaded, so they fit."""
    async with running_tracker() as tracker, running_daemon(settings_of(tmp_path / "n", tracker), FakeWorld()):
        facts = NodeFacts(Subject(tracker=tracker.url, data_dir=tmp_path / "n"))
        finding = await asyncio.to_thread(check_node, facts)
        assert (finding.status, f"{NODE.peer_id} and serves smollm2-135m." in finding.message) == ("ok", True)
        assert "models loaded" in (await asyncio.to_thread(check_memory, facts)).message


def test_no_node_runs(tmp_path: Path) -> None:
    """That is no fault, and the folder that was looked at is named."""
    finding = check_node(NodeFacts(Subject(data_dir=tmp_path)))
    assert (finding.status, str(tmp_path) in finding.message) == ("skipped", True)


def test_problems_of_a_running_node() -> None:
    """The first one is told with its advice, the others are counted."""
    status = {"peer_id": "12D3", "models": [{"name": "smollm2"}], "problems": ["The tracker is down. Check it.", "x"]}
    finding = judge_status(status)
    assert finding.status == "warning"
    assert finding.message == "Runs as 12D3 and serves smollm2, but: The tracker is down. And 1 more."
    assert finding.fix == "Check it."
    assert judge_status(status | {"problems": ["Something"]}).fix


def test_the_data_folder(tmp_path: Path) -> None:
    """Before the first start it is not there; a key that others may read is an error with its fix."""
    facts = NodeFacts(Subject(data_dir=tmp_path / "n"))
    assert "the first start makes" in check_data(facts).message
    load_or_create_identity(tmp_path / "n" / "identity.key")
    assert check_data(facts).status == "ok"
    (tmp_path / "n" / "identity.key").chmod(0o644)
    with pytest.raises(IdentityFileError, match="chmod 600"):
        check_data(facts)


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/nope"])
def test_a_data_folder_that_cannot_be_made(path: str) -> None:
    """It is neither there nor can it be."""
    assert check_data(NodeFacts(Subject(data_dir=Path(path)))).status == "failure"


@pytest.mark.parametrize(
    ("needed_bytes", "status", "words"),
    [(GIB, "ok", "8.0 GiB of memory"), (9 * GIB, "warning", "about 9.0 GiB")],
)
def test_models_and_memory(needed_bytes: int, status: str, words: str) -> None:
    """Without a GPU, or where it is not to be used, the machine's memory counts."""
    for machine, use_gpu in ((CPU_ONLY, True), (MACHINE, False)):
        finding = judge_memory(machine, "m", needed_bytes, use_gpu=use_gpu)
        assert (finding.status, words in finding.message) == (status, True)


def test_models_and_gpu_memory() -> None:
    """With one, what is free on the cards."""
    cards = tuple(replace(gpu, free_memory_bytes=4 * GIB) for gpu in MACHINE.gpus)
    finding = judge_memory(replace(MACHINE, gpus=cards), "m", 9 * GIB, use_gpu=True)
    assert (finding.status, "8.0 GiB of GPU memory" in finding.message) == ("warning", True)
    assert judge_memory(replace(MACHINE, gpus=cards), "m", 7 * GIB, use_gpu=True).status == "ok"


async def test_which_models_would_be_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the settings, else the network's default; without either nothing is known."""
    assert check_memory(NodeFacts(Subject(data_dir=tmp_path))).status == "skipped"
    async with running_tracker() as tracker:
        facts = NodeFacts(Subject(tracker=tracker.url, data_dir=tmp_path))
        assert "smollm2-135m takes" in (await asyncio.to_thread(check_memory, facts)).message
        monkeypatch.setenv("GPUNODE_MODEL", "qwen2.5-0.5b")
        assert "qwen2.5-0.5b " in (await asyncio.to_thread(check_memory, facts)).message


def test_the_owners_models_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start would serve them too."""
    file = tmp_path / "models.toml"
    file.write_text(
        """
        [[model]]
        name = "mine"
        task = "llm"
        backend = "llamacpp"
        licence = "MIT"
        parameters = 1_000_000
        bits_per_weight = 4.5
        context_tokens = 2048
        slots = 2
        source = { kind = "hub", repo = "me/mine", patterns = ["*.gguf"] }
        """
    )
    monkeypatch.setenv("GPUNODE_MODELS_FILE", str(file))
    monkeypatch.setenv("GPUNODE_MODEL", "mine")
    assert "mine takes" in check_memory(NodeFacts(Subject(data_dir=tmp_path))).message
