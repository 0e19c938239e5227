"""Which class serves which backend name; imported by name, in the child only."""

import importlib
from typing import TYPE_CHECKING, Any, Final

from gpunode_protocol.tasks import Task

from gpunode_engines.errors import EngineStartFailed

if TYPE_CHECKING:
    from gpunode_engines.backends import Backend

SERVER_BACKEND: Final = "openai"
"""Speaks to servers; all others load files."""

_BACKENDS: dict[tuple[Task, str], str] = {
    (Task.LLM, "llamacpp"): "gpunode_engines.backends.text_llamacpp:LlamaCppBackend",
    (Task.LLM, "transformers"): "gpunode_engines.backends.text_transformers:TransformersBackend",
    (Task.LLM, SERVER_BACKEND): "gpunode_engines.backends.text_openai:OpenAiBackend",
    (Task.WHISPER, "faster-whisper"): "gpunode_engines.backends.speech_whisper:WhisperBackend",
    (Task.EMBEDDING, "transformers"): "gpunode_engines.backends.embedding_transformers:EmbeddingBackend",
    (Task.IMAGE_GEN, "diffusers"): "gpunode_engines.backends.image_diffusers:ImageBackend",
}

BACKEND_EXTRAS: dict[str, str] = {
    "llamacpp": "llamacpp",
    SERVER_BACKEND: "vllm",
    "faster-whisper": "whisper",
    "transformers": "transformers",
    "diffusers": "diffusers",
}
"""Backend name to the extra of gpunode that installs it."""


def has_backend(task: Task, backend: str) -> bool:
    """Whether a name can be given to ``create_backend``; its library may still be missing."""
    return (task, backend) in _BACKENDS or ":" in backend


def create_backend(task: Task, backend: str) -> "Backend[Any, Any]":
    """Return a new backend object. Imports the ML library: call it in a child process only.

    Args:
        task: what it serves.
        backend: a registered name, or ``module:Class`` for one that is not registered.

    Raises:
        EngineStartFailed: no such backend, or its library is not installed.
    """
    path = _BACKENDS.get((task, backend), backend)
    module_name, separator, class_name = path.partition(":")
    if not separator:
        raise EngineStartFailed(f"There is no backend {backend!r} for {task}.")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        extra = BACKEND_EXTRAS.get(backend, "node")
        raise EngineStartFailed(
            f"The backend {backend} needs the package {error.name}. Install it with: pip install 'gpunode[{extra}]'"
        ) from error
    backend_object: Backend[Any, Any] = getattr(module, class_name)()
    return backend_object
