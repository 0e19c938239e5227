"""Sentence embeddings with transformers: BERT-like encoders in safetensors, mean over the tokens."""

import threading
from collections.abc import Iterator, Sequence

import torch
import transformers

from gpunode_engines.backends import Emit
from gpunode_engines.backends.card_share import keep_to_share
from gpunode_engines.backends.output_blobs import emit_blob
from gpunode_engines.base import Finished, PreparedPrompt
from gpunode_engines.errors import ContextOverflow
from gpunode_engines.ipc import Load, Loaded
from gpunode_engines.media import EmbeddingRequest

MEDIA_TYPE = "application/octet-stream"
_BATCH_TOKENS = 8192
"""Of one step, padding included: bounds memory, and a cancel waits for one step at most."""


class EmbeddingBackend:
    """Implements ``Backend[EmbeddingRequest, EmbeddingRequest]``."""

    def load(self, order: Load) -> Loaded:
        """Load an encoder from the model's folder."""
        torch.set_num_threads(order.options.threads)
        self._device = torch.device("cuda" if order.options.use_gpu and torch.cuda.is_available() else "cpu")
        if self._device.type == "cuda":
            keep_to_share(torch, order.options)
        loading = {"local_files_only": True, "trust_remote_code": False}
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(order.root, **loading)
        model = transformers.AutoModel.from_pretrained(order.root, use_safetensors=True, **loading)
        self._model = model.to(self._device).eval()
        self._context_tokens = min(order.options.context_tokens, self._model.config.max_position_embeddings)
        self._batch_tokens = _BATCH_TOKENS >> order.options.saving
        return Loaded(
            backend_version=transformers.__version__,
            context_tokens=self._context_tokens,
            slots=order.options.slots,
            device=torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "cpu",
            saving=order.options.saving,
        )

    def prepare(self, request: EmbeddingRequest) -> PreparedPrompt:
        """Count the tokens that will be read."""
        ids = self._tokenised(request.inputs)
        return PreparedPrompt(token_ids=tuple(token for one in ids for token in one), rendered=b"")

    def generate(self, request: EmbeddingRequest, emit: Emit, cancelled: threading.Event) -> None:
        """Embed all inputs, batches of like length together, and give the vectors in the order asked for."""
        ids = self._tokenised(request.inputs)
        total = sum(map(len, ids))
        vectors = torch.empty(len(ids), self._model.config.hidden_size)
        for batch in _batches(ids, self._batch_tokens):
            if cancelled.is_set():
                emit(Finished(reason="cancelled", prompt_tokens=total, output_tokens=0))
                return
            vectors[batch] = self._embed([ids[index] for index in batch], normalize=request.normalize)
        emit_blob(emit, 0, vectors.numpy().astype("<f4").tobytes(), MEDIA_TYPE)
        emit(Finished(reason="stop", prompt_tokens=total, output_tokens=0))

    def _tokenised(self, inputs: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self._tokenizer(list(inputs), add_special_tokens=True, truncation=False)["input_ids"]
        longest = max(range(len(ids)), key=lambda index: len(ids[index]))
        if len(ids[longest]) > self._context_tokens:
            raise ContextOverflow(
                f"Input {longest} has {len(ids[longest])} tokens; this model reads {self._context_tokens}. Split it."
            )
        return ids

    @torch.inference_mode()
    def _embed(self, ids: Sequence[Sequence[int]], *, normalize: bool) -> torch.Tensor:
        """Return the vectors of one batch: float32, shape (inputs, dimensions)."""
        batch = self._tokenizer.pad({"input_ids": [list(one) for one in ids]}, return_tensors="pt").to(self._device)
        states = self._model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
        pooled = (states * mask).sum(1) / mask.sum(1)
        if normalize:
            pooled = torch.nn.functional.normalize(pooled, dim=1)
        vectors: torch.Tensor = pooled.float().cpu()
        return vectors


def _batches(ids: Sequence[Sequence[int]], most_tokens: int) -> Iterator[list[int]]:
    """Yield indices, longest inputs first, so that little is padded."""
    order = sorted(range(len(ids)), key=lambda index: -len(ids[index]))
    start = 0
    while start < len(order):
        size = max(1, most_tokens // max(1, len(ids[order[start]])))
        yield order[start : start + size]
        start += size
