"""The packed forward pass against the library's own, on small models with random weights."""

import pytest
import torch
from gpunode_engines.backends.packed_attention import ATTENTION, RowCaches, Span, Step, check_supported
from gpunode_engines.errors import EngineStartFailed
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, PretrainedConfig, Qwen2Config, Qwen3Config

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
CONFIGS: list[PretrainedConfig] = [LlamaConfig(**SIZES), Qwen2Config(**SIZES), Qwen3Config(**SIZES, head_dim=16)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.model_type)
def test_jobs_packed_together_get_the_logits_that_they_get_alone(config: PretrainedConfig) -> None:
    """A prompt in one part, one in two parts and one already in the cache, of different lengths, in one pass."""
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    texts = [torch.randint(64, (1, length)) for length in (5, 9, 7)]
    with torch.inference_mode():
        alone = [model(input_ids=text).logits[0, -1] for text in texts]
        model.set_attn_implementation(ATTENTION)
        caches = RowCaches(config, rows=4, row_tokens=12, dtype=torch.float32)
        first = [Span(3, 0, 5), Span(0, 0, 4), Span(2, 0, 6)]
        logits = _forward(model, caches, texts, first)
        second = [Span(0, 4, 5), Span(2, 6, 1)]
        rest = _forward(model, caches, texts[1:], second)
    torch.testing.assert_close(logits[4], alone[0])
    torch.testing.assert_close(rest[4], alone[1])
    torch.testing.assert_close(rest[5], alone[2])


def _forward(model: torch.nn.Module, caches: RowCaches, texts: list[torch.Tensor], spans: list[Span]) -> torch.Tensor:
    parts = [text[:, span.start : span.start + span.count] for text, span in zip(texts, spans, strict=True)]
    step = Step(caches, spans)
    logits: torch.Tensor = model(
        input_ids=torch.cat(parts, 1), position_ids=step.positions[None], use_cache=False, step=step
    ).logits[0]
    return logits


def test_caches_take_nothing_until_they_fill() -> None:
    """Each layer has keys and values of its own for every row."""
    caches = RowCaches(CONFIGS[2], rows=3, row_tokens=5, dtype=torch.float16)
    assert [tuple(tensor.shape) for tensor in (*caches.keys, *caches.values)] == [(3, 2, 5, 16)] * 4


def test_other_kinds_of_attention_are_refused() -> None:
    """A sliding window would be computed wrongly, so it is not computed at all."""
    check_supported(CONFIGS[0])
    config = MistralConfig(**SIZES, sliding_window=8)
    config.layer_types = ["sliding_attention"] * 2
    with pytest.raises(EngineStartFailed, match="kind of attention is not supported"):
        check_supported(config)
