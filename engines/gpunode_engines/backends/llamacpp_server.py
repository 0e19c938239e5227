"""llama.cpp's server inside this process: how it is configured, and the calls that only its HTTP listener answers."""

import http.client
import json
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import xllamacpp

from gpunode_engines.backends.kept_connections import KeptConnections
from gpunode_engines.errors import BackendFailed, EngineStartFailed, InvalidParameters
from gpunode_engines.ipc import Load

_ALL_LAYERS = 999
"""More layers than any model has: llama.cpp then offloads all of them."""

_CPU_BATCH_TOKENS = 64
"""Prompt tokens per step on a CPU. Other streams pause for one step and a cancel takes effect after one, so it is
short. Beside llama.cpp's 512 it costs 2 % of prefill speed (SmolLM2-135M as Q4_1, 960 tokens, processor time of one
thread); 32 would cost 26 %."""

_GPU_BATCH_TOKENS = 512
"""llama.cpp's default for one step on a GPU (``n_ubatch``)."""

_ERRORS_ONLY = 1
"""llama.cpp's verbosity at which it logs errors and nothing of the requests."""


def gpu_name() -> str | None:
    """Return the first GPU that this build of llama.cpp can use."""
    kinds = xllamacpp.ggml_backend_dev_type
    for device in xllamacpp.get_device_info():
        if device["type"] in (kinds.GGML_BACKEND_DEVICE_TYPE_GPU, kinds.GGML_BACKEND_DEVICE_TYPE_IGPU):
            return str(device["description"] or device["name"])
    return None


def _parameters(order: Load, api_key: str, *, on_gpu: bool) -> Any:
    options = order.options
    parameters = xllamacpp.CommonParams()
    parameters.model.path = order.files[0]
    parameters.model_alias = {order.model}
    parameters.offline = True
    parameters.chat_template = options.chat_template
    parameters.n_parallel = options.slots
    parameters.n_ctx = options.context_tokens * options.slots
    parameters.kv_unified = False  # each slot has its own context, whatever the others use
    parameters.ctx_shift = False  # an overflow is an error, never a silent cut
    parameters.fit_params = False  # no silent reduction of the context either
    parameters.n_batch = parameters.n_ubatch = _GPU_BATCH_TOKENS if on_gpu else _CPU_BATCH_TOKENS
    parameters.n_gpu_layers = _ALL_LAYERS if on_gpu else 0
    parameters.cpuparams.n_threads = options.threads
    parameters.cpuparams_batch.n_threads = options.threads
    # Prompts are cached in their owner's slot only: no copies shared between clients.
    parameters.cache_ram_mib = 0
    parameters.cache_idle_slots = False
    parameters.slot_prompt_similarity = 0.0
    # Without a key every local user could use the listener, and every web page read from it.
    parameters.api_keys = [api_key]
    parameters.cors_origins = "http://127.0.0.1"
    parameters.cors_credentials = False
    parameters.endpoint_slots = False
    parameters.ui = False
    parameters.verbosity = _ERRORS_ONLY
    return parameters


class LlamaCppServer:
    """A loaded model. ``complete`` runs in the calling thread."""

    def __init__(self, order: Load) -> None:
        device = gpu_name() if order.options.use_gpu else None
        self.device = device or "cpu"
        self._api_key = secrets.token_hex(32)
        try:
            self._server = xllamacpp.Server(_parameters(order, self._api_key, on_gpu=device is not None))
        except Exception as error:
            raise EngineStartFailed(f"llama.cpp cannot load {order.model}: {error}") from error
        self._line = KeptConnections(int(self._server.listening_address.rpartition(":")[2]))

    def complete(self, body: dict[str, Any], on_chunk: Any) -> None:
        """Run a completion; ``on_chunk`` gets each chunk as a dictionary and ends the job by returning True."""
        self._server.handle_completions(body, on_chunk)

    def context_tokens(self) -> int:
        """Return the context of one slot."""
        return int(self._call("GET", "/props")["default_generation_settings"]["n_ctx"])

    def chat_template(self) -> str:
        """Return the template in use."""
        return str(self._call("GET", "/props").get("chat_template", ""))

    def render(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]], now: int) -> str:
        """Apply the model's chat template. Raises InvalidParameters when it refuses the conversation."""
        body: dict[str, Any] = {"messages": list(messages), "add_generation_prompt": True}
        if tools:
            body["tools"] = list(tools)
        if now:
            # Templates of the Llama family print this date, else the clock's, which would make a resume differ.
            body["chat_template_kwargs"] = {"date_string": datetime.fromtimestamp(now, UTC).strftime("%d %b %Y")}
        return str(self._call("POST", "/apply-template", body)["prompt"])

    def tokenise(self, text: str) -> tuple[int, ...]:
        """Return the token ids of a rendered prompt; control tokens in it are recognised."""
        body = {"content": text, "add_special": True, "parse_special": True}
        return tuple(self._call("POST", "/tokenize", body)["tokens"])

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._api_key}", "Content-Type": "application/json"}
        payload = None if body is None else json.dumps(body)
        try:
            status, text = self._line.request(method, path, payload, headers)
            answer = json.loads(text)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BackendFailed(f"llama.cpp did not answer {path}; try again.") from error
        if status != http.HTTPStatus.OK:
            raise InvalidParameters(f"The model's chat template refuses these messages (status {status}).")
        return dict(answer)
