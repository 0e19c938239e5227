"""Attention over jobs of different lengths in one forward pass, without padding: each job has a cache row of its own.

A step packs the new tokens of all jobs behind each other, as a batch of one: the linear layers, where nearly all time
goes, see one matrix, and attention runs job by job on exactly its own tokens. transformers calls the function by the
name ``ATTENTION`` and passes the step through (its "attention interface").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PretrainedConfig

from gpunode_engines.errors import EngineStartFailed

ATTENTION = "gpunode_packed"
_FULL_ATTENTION = "full_attention"
_NOT_COMPUTED = ("position_bias", "s_aux", "sliding_window", "softcap")
"""What transformers passes to attention that is more than plain; ignored, answers would be wrong without a sign."""


class RowCaches:
    """Keys and values of every layer, shape (rows, key-value heads, tokens, head size).

    Nothing is written at the start: on a CPU, memory becomes resident as rows fill.
    """

    def __init__(self, config: PretrainedConfig, *, rows: int, row_tokens: int, dtype: torch.dtype) -> None:
        head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        shape = (rows, config.num_key_value_heads, row_tokens, head_size)
        self.keys = [torch.empty(shape, dtype=dtype) for _ in range(config.num_hidden_layers)]
        self.values = [torch.empty(shape, dtype=dtype) for _ in range(config.num_hidden_layers)]


@dataclass(frozen=True, slots=True)
class Span:
    """New tokens of one job. row: of the caches. start: tokens that the row holds already. count: >= 1."""

    row: int
    start: int
    count: int


class Step:
    """What one forward pass computes: the spans in the order in which their tokens are packed."""

    def __init__(self, caches: RowCaches, spans: Sequence[Span]) -> None:
        self.caches = caches
        self.spans = spans
        self.positions = torch.tensor([at for span in spans for at in range(span.start, span.start + span.count)])
        self.rows = torch.tensor([span.row for span in spans for _ in range(span.count)])


def check_supported(config: PretrainedConfig) -> None:
    """Refuse models whose layers attend in another way than to everything before.

    Raises:
        EngineStartFailed: such a model.
    """
    kinds = set(getattr(config, "layer_types", None) or [_FULL_ATTENTION])
    if kinds != {_FULL_ATTENTION} or not hasattr(config, "num_key_value_heads"):
        raise _not_supported()


def _not_supported() -> EngineStartFailed:
    return EngineStartFailed(
        "This model cannot run on a CPU here: its kind of attention is not supported. Take one of the Llama or Qwen "
        "families."
    )


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 -- part of the interface; a step needs no mask
    *,
    scaling: float,
    step: Step,
    **options: Any,
) -> tuple[Tensor, None]:
    """Store the new keys and values and attend. Shapes of query, key and value: (1, heads, tokens, head size).

    Returns:
        The output, shape (1, tokens, heads, head size), and no weights.

    Raises:
        EngineStartFailed: the layer wants more than plain attention.
    """
    if any(options.get(name) is not None for name in _NOT_COMPUTED):
        raise _not_supported()
    layer = int(module.layer_idx)  # type: ignore[arg-type]  # -- torch types attributes of modules as tensors
    keys, values = step.caches.keys[layer], step.caches.values[layer]
    keys[step.rows, :, step.positions] = key[0].transpose(0, 1)
    values[step.rows, :, step.positions] = value[0].transpose(0, 1)
    heads, tokens, head_size = query.shape[1:]
    kv_heads = keys.shape[1]
    outputs = query.new_empty((1, tokens, heads, head_size))
    begin = 0
    for span in step.spans:
        end, length = begin + span.count, span.start + span.count
        known = keys[span.row : span.row + 1, :, :length], values[span.row : span.row + 1, :, :length]
        if span.count == 1:
            # Heads that share keys stand in for tokens: nothing is repeated and nothing masked.
            shared = query[:, :, begin].reshape(1, kv_heads, heads // kv_heads, head_size)
            outputs[:, begin] = scaled_dot_product_attention(shared, *known, scale=scaling).reshape(1, heads, head_size)
        else:
            outputs[:, begin:end] = _attend_causally(query[:, :, begin:end], *known, scaling).transpose(1, 2)
        begin = end
    return outputs, None


def _attend_causally(query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
    """Attend from the last tokens of a row to all before them and to themselves."""
    count, length = query.shape[2], key.shape[2]
    mask = None
    if count < length:
        mask = torch.ones(count, length, dtype=torch.bool, device=query.device).tril(length - count)
    return scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=True
    )


AttentionInterface.register(ATTENTION, attend)
