"""Text generation with transformers: safetensors weights; the library's continuous batching on CUDA, ours on CPUs."""

import importlib.metadata
import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import psutil  # type: ignore[import-untyped]  # -- ships no annotations
import torch
import transformers
from jinja2 import TemplateError
from safetensors import SafetensorError

from gpunode_engines.backends import Emit
from gpunode_engines.backends.card_share import keep_to_share
from gpunode_engines.backends.token_job import TokenJob
from gpunode_engines.base import GenerateRequest, PreparedPrompt, PrepareRequest
from gpunode_engines.cuda_placement import place, quantised_bytes
from gpunode_engines.errors import EngineStartFailed, InvalidParameters
from gpunode_engines.ipc import Load, Loaded
from gpunode_engines.safetensors_model import WEIGHTS_SUFFIX
from gpunode_engines.structured_answer import structured
from gpunode_engines.tool_prompt import conversation_of, knows_tools
from gpunode_engines.vocabulary import Vocabulary

_LOAD_ERRORS = (OSError, ValueError, RuntimeError, LookupError, ImportError, SafetensorError)
"""What transformers raises of checkpoints that are damaged, incomplete or of an unknown kind."""


_QUANTISATIONS = {4: "nf4", 8: "int8"}
"""Names of what bitsandbytes makes of the weights."""


class Batch(Protocol):
    """Runs the jobs of one model together."""

    def run(self, job: TokenJob) -> None:
        """Run a job to its end, but for its last event. Called from a thread a job. Raises what the job failed with."""
        ...


class TransformersBackend:
    """Implements ``Backend``."""

    def load(self, order: Load) -> Loaded:
        """Load the checkpoint in the order's folder."""
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        torch.set_num_threads(order.options.threads)
        folder = Path(order.root)
        on_cuda = order.options.use_gpu and torch.cuda.is_available()
        if on_cuda:
            keep_to_share(torch, order.options)
        model = _load_model(order, folder, on_cuda=on_cuda)
        self._tokenizer = _load_tokenizer(folder, order.options.chat_template)
        self._vocabulary = Vocabulary.from_tokenizer(json.loads((folder / "tokenizer.json").read_bytes()))
        self._end_ids = _end_ids(model, self._tokenizer)
        self._batch = _create_batch(model, order, on_cuda=on_cuda)
        bits = order.options.quantised_bits if on_cuda else 0
        return Loaded(
            backend_version=importlib.metadata.version("transformers"),
            context_tokens=min(order.options.context_tokens, model.config.max_position_embeddings),
            slots=order.options.slots,
            device=torch.cuda.get_device_name() if on_cuda else "cpu",
            quantisation=_QUANTISATIONS[bits] if bits else str(model.dtype).removeprefix("torch."),
            abilities=("logprobs", "tools"),
        )

    def prepare(self, request: PrepareRequest) -> PreparedPrompt:
        """Render and tokenise."""
        if not request.messages:
            raise InvalidParameters("There are no messages; send at least one.")
        # Templates of the Llama family print this date, else the clock's, which would make a resume differ.
        conversation = conversation_of(request, template_knows_tools=knows_tools(self._tokenizer.chat_template))
        date = {"date_string": datetime.fromtimestamp(request.now, UTC).strftime("%d %b %Y")} if request.now else {}
        try:
            rendered = self._tokenizer.apply_chat_template(
                conversation.messages,
                tools=conversation.tools or None,
                tokenize=False,
                add_generation_prompt=True,
                **date,
            )
        except TemplateError as error:
            raise InvalidParameters("The model's chat template refuses these messages.") from error
        token_ids = self._tokenizer(rendered, add_special_tokens=False)["input_ids"]
        return PreparedPrompt(token_ids=tuple(token_ids), rendered=rendered.encode())

    def generate(self, request: GenerateRequest, emit: Emit, cancelled: threading.Event) -> None:
        """Run a job together with the others."""
        self._vocabulary.check((*request.prompt_ids, *request.resume_ids))
        job = TokenJob(request, self._vocabulary, self._end_ids, structured(request, emit), cancelled)
        job.replay()
        if not job.ended:
            self._batch.run(job)
        job.conclude()


def _load_model(order: Load, folder: Path, *, on_cuda: bool) -> Any:
    """Load the weights: on CUDA as they are stored or quantised, on CPUs as float32, which is fastest there."""
    placed = _cuda_arguments(order, folder) if on_cuda else {}
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            dtype="auto" if on_cuda else torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            **placed,
        )
    except _LOAD_ERRORS as error:
        raise EngineStartFailed(f"transformers cannot load {order.model}: {error}") from error
    return model.eval()


def _cuda_arguments(order: Load, folder: Path) -> dict[str, Any]:
    """Return how transformers shall place, and perhaps quantise, the weights. Raises NotEnoughMemory."""
    bits = order.options.quantised_bits
    share = order.options.card_share
    stored_bytes = sum(path.stat().st_size for path in folder.glob(f"*{WEIGHTS_SUFFIX}"))
    cards = [int(torch.cuda.mem_get_info(index)[0] * share) for index in range(torch.cuda.device_count())]
    placement = place(
        quantised_bytes(stored_bytes, bits),
        order.options.cache_bytes,
        cards=cards,
        ram_bytes=psutil.virtual_memory().available,
        bits=bits,
    )
    arguments: dict[str, Any] = {"device_map": placement.device_map, "max_memory": placement.max_memory}
    if bits == 4:
        arguments["quantization_config"] = transformers.BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    elif bits == 8:
        arguments["quantization_config"] = transformers.BitsAndBytesConfig(load_in_8bit=True)
    return arguments


def _load_tokenizer(folder: Path, chat_template: str) -> Any:
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except _LOAD_ERRORS as error:
        raise EngineStartFailed(f"transformers cannot read the tokenizer: {error}") from error
    if chat_template:
        tokenizer.chat_template = chat_template
    if not tokenizer.chat_template:
        raise EngineStartFailed("The model has no chat template; take one that is made for conversations.")
    return tokenizer


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end an answer, as the checkpoint's generation settings and its tokenizer name them."""
    configured = model.generation_config.eos_token_id
    several = configured if isinstance(configured, list) else [configured]
    return frozenset(token_id for token_id in (*several, tokenizer.eos_token_id) if token_id is not None)


def _create_batch(model: Any, order: Load, *, on_cuda: bool) -> Batch:
    options = order.options
    if on_cuda:
        from gpunode_engines.backends.library_batch import LibraryBatch  # noqa: PLC0415 -- slow to import, CUDA only

        return LibraryBatch(model, jobs=options.slots, job_tokens=options.context_tokens)
    from gpunode_engines.backends.packed_batch import PackedBatch  # noqa: PLC0415 -- CPU only

    return PackedBatch(model, rows=options.slots, row_tokens=options.context_tokens, threads=options.threads)
