"""What status, earnings and the other commands show, from a whole node."""

import asyncio
import io
from pathlib import Path

import pytest
from gpunode_node import tables
from gpunode_node.control_client import ask_daemon
from gpunode_node.errors import ControlRefused
from rich.console import Console

from tests.node.fake_tracker import running_tracker
from tests.node.running_daemon import FakeWorld, running_daemon, settings_of


def _text(kind: str, answer: dict[str, object]) -> str:
    render = {"status": tables.status_table, "earnings": tables.earnings_table, "link": tables.link_table}[kind]
    console = Console(width=150, file=io.StringIO())
    with console.capture() as capture:
        console.print(render(answer))
    return capture.get()


async def test_status(tmp_path: Path) -> None:
    """Identity, models with their load, and every problem once."""
    fakes = FakeWorld()
    async with running_tracker() as tracker, running_daemon(settings_of(tmp_path / "n", tracker), fakes):
        path = tmp_path / "n" / "control.sock"
        status = await asyncio.to_thread(ask_daemon, path, "status")
        (model,) = status["models"]
        assert (model["name"], model["slots"], model["healthy"]) == ("smollm2-135m", 4, True)
        assert status["gpus"][0]["name"] == "GTX"
        assert status["mesh"]["reachable"] is True
        assert status["rtt_ms"] == {}
        assert status["problems"] == []
        assert (status["region"], status["country"], status["latitude"], status["longitude"]) == (
            "europe",
            "",
            None,
            None,
        )
        assert status["outbox"] == {"held": 0, "ready": 0, "unwritten": 0, "problem": ""}
        text = _text("status", status)
        assert "smollm2-135m" in text
        assert "0/4 running" in text
        assert model["speed"].endswith(" tokens/s")
        assert model["speed"] in text
        assert {"prefill_tokens_per_s", "decode_tokens_per_s"} <= set(model)
        assert model["sandbox"] == {"level": 2, "lacks": ["system calls by seccomp"], "denials": 0}
        assert "2 of 3, without system calls by seccomp" in " ".join(text.split())


async def test_a_card_that_no_engine_uses_is_a_problem(tmp_path: Path) -> None:
    """The owner would otherwise serve from the CPU without knowing it; who switched the GPU off wants it so."""
    async with running_tracker() as tracker:
        for number, use_gpu in enumerate((True, False)):
            folder = tmp_path / str(number)
            async with running_daemon(settings_of(folder, tracker, engine_gpu=use_gpu), FakeWorld(device="cpu")):
                status = await asyncio.to_thread(ask_daemon, folder / "control.sock", "status")
            assert ["runs on the CPU" in problem for problem in status["problems"]] == [True] * use_gpu


async def test_earnings(tmp_path: Path) -> None:
    """The balance is the tracker's; without it the command says why."""
    async with running_tracker() as tracker, running_daemon(settings_of(tmp_path / "n", tracker), FakeWorld()):
        path = tmp_path / "n" / "control.sock"
        earnings = await asyncio.to_thread(ask_daemon, path, "earnings")
        assert earnings["spendable_microcredits"] == 1_500_000
        assert "1.5 credits" in _text("earnings", earnings)


async def test_link(tmp_path: Path) -> None:
    """An API key attaches the node to its account; a wrong or missing one is refused in words."""
    async with running_tracker() as tracker, running_daemon(settings_of(tmp_path / "n", tracker), FakeWorld()):
        path = tmp_path / "n" / "control.sock"
        answer = await asyncio.to_thread(ask_daemon, path, "link", {"api_key": "good-key"})
        assert answer["moved_microcredits"] == 42
        assert "0.000042 credits" in _text("link", answer)
        for key, words in (("bad-key", "403"), ("", "missing")):
            with pytest.raises(ControlRefused, match=words):
                await asyncio.to_thread(ask_daemon, path, "link", {"api_key": key})
