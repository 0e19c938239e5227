import json
from pathlib import Path

import pytest
from gpunode_engines.errors import UnreadableWeights
from gpunode_engines.model_facts import read_model_facts

from tests.engines.test_safetensors_model import QWEN


def test_a_gguf_file_tells_its_own(smollm2_path: Path) -> None:
    """Weights take what the file takes."""
    facts = read_model_facts([smollm2_path], on_gpu=False)
    assert (facts.quantisation, facts.trained_context_tokens, facts.kv_bytes_per_token) == ("Q4_1", 8192, 23_040)
    assert facts.weights_bytes == smollm2_path.stat().st_size


def test_a_checkpoint_is_widened_on_a_cpu(tmp_path: Path) -> None:
    """Twice the bytes of a 16-bit file, and of its caches; on a GPU it stays as it is stored."""
    (tmp_path / "config.json").write_text(json.dumps(QWEN))
    (tmp_path / "model.safetensors").write_bytes(bytes(1000))
    paths = sorted(tmp_path.iterdir())
    on_cpu, on_gpu = (read_model_facts(paths, on_gpu=flag) for flag in (False, True))
    assert (on_cpu.quantisation, on_cpu.weights_bytes, on_cpu.kv_bytes_per_token) == ("float32", 2000, 24_576)
    assert (on_gpu.quantisation, on_gpu.weights_bytes, on_gpu.kv_bytes_per_token) == ("bfloat16", 1000, 12_288)


def test_pickles_are_refused(tmp_path: Path) -> None:
    """Whatever else there is."""
    with pytest.raises(UnreadableWeights, match="is a pickle"):
        read_model_facts([tmp_path / "pytorch_model.bin"], on_gpu=False)
