import subprocess
import sys

import pytest
from gpunode_engines.errors import EngineStartFailed
from gpunode_engines.registry import create_backend, has_backend
from gpunode_protocol.tasks import Task


def test_a_registered_backend_is_created_by_name() -> None:
    """In a process of its own, because it imports the ML library."""
    code = (
        "from gpunode_engines.registry import create_backend; print(type(create_backend('llm', 'llamacpp')).__name__)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "LlamaCppBackend"


def test_any_class_can_be_named_by_its_path() -> None:
    """Tests and experiments need no registration."""
    assert (
        type(create_backend(Task.LLM, "tests.engines.scripted_backend:ScriptedBackend")).__name__ == "ScriptedBackend"
    )


def test_a_backend_of_another_task_is_unknown() -> None:
    """llama.cpp paints no pictures."""
    with pytest.raises(EngineStartFailed, match="no backend 'llamacpp' for image_gen"):
        create_backend(Task.IMAGE_GEN, "llamacpp")


@pytest.mark.parametrize(
    ("task", "backend", "expected"),
    [(Task.LLM, "llamacpp", True), (Task.WHISPER, "llamacpp", False), (Task.LLM, "mine:Backend", True)],
)
def test_backends_are_known_without_their_library(task: Task, backend: str, *, expected: bool) -> None:
    """The catalogue is checked where no library may be imported."""
    assert has_backend(task, backend) is expected


def test_a_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user learns what to install."""
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    monkeypatch.delitem(sys.modules, "gpunode_engines.backends.text_llamacpp", raising=False)
    monkeypatch.delitem(sys.modules, "gpunode_engines.backends.llamacpp_server", raising=False)
    with pytest.raises(EngineStartFailed, match=r"pip install 'gpunode\[llamacpp\]'"):
        create_backend(Task.LLM, "llamacpp")


def test_the_parent_imports_no_ml_library() -> None:
    """Neither the supervisor nor anything it needs loads one, nor the backends, nor the hub's client."""
    code = (
        "import sys, gpunode_engines.plan, gpunode_engines.speed, gpunode_engines.commands; "
        "print([name for name in sys.modules if name.split('.')[0] in "
        "('xllamacpp', 'torch', 'numpy', 'huggingface_hub', 'hivemind', 'aiohttp') or '.backends' in name])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
