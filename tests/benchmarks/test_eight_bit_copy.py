from pathlib import Path

import gguf
import numpy as np
import pytest
from gpunode_benchmarks import eight_bit_copy
from gpunode_benchmarks.eight_bit_copy import pull_eight_bit_copy, write_eight_bit_copy
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_engines.fetch import locate
from gpunode_engines.gguf import read_gguf_header


def _write_small(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Write a file with a matrix of four bits, a vector and a list; return the matrix as it was rounded."""
    values = np.random.default_rng(0).standard_normal((4, 64), dtype=np.float32)
    packed = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q4_1)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    writer.add_uint32("llama.block_count", 1)
    writer.add_tensor("matrix", packed, raw_dtype=gguf.GGMLQuantizationType.Q4_1)
    writer.add_tensor("vector", values[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    rounded: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = gguf.quants.dequantize(
        packed, gguf.GGMLQuantizationType.Q4_1
    )
    return rounded


def test_the_weights_stay_what_they_were(tmp_path: Path) -> None:
    """Within half a step of 1/127 of a block's largest; vectors and metadata are the same."""
    matrix = _write_small(tmp_path / "four.gguf")
    write_eight_bit_copy(tmp_path / "four.gguf", tmp_path / "eight.gguf")
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / "eight.gguf").tensors}
    assert tensors["matrix"].tensor_type == gguf.GGMLQuantizationType.Q8_0
    assert tensors["vector"].tensor_type == gguf.GGMLQuantizationType.F32
    copied = gguf.quants.dequantize(tensors["matrix"].data, gguf.GGMLQuantizationType.Q8_0)
    step = np.abs(matrix).max() / 127
    assert np.abs(copied - matrix).max() <= step * 0.51  # the factor itself has 16 bits
    header = read_gguf_header(tmp_path / "eight.gguf", ("tokenizer.ggml.tokens", "llama.block_count"))
    assert header.architecture == "llama"
    assert header.metadata["llama.block_count"] == 1
    assert [*map(str, gguf.GGUFReader(tmp_path / "eight.gguf").fields["tokenizer.ggml.tokens"].contents())] == [
        "a",
        "b",
    ]


@pytest.mark.full
async def test_the_copy_is_a_model_like_others(tmp_path: Path) -> None:
    """It lies in the models folder, of the packaged model's family, with a byte a weight."""
    entry = await pull_eight_bit_copy(tmp_path)
    (path,) = locate(entry, tmp_path)
    assert read_gguf_header(path, ()).architecture == "llama"
    assert path.stat().st_size > 134_000_000


async def test_a_file_that_cannot_be_copied_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what the other process said."""
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    monkeypatch.setattr(eight_bit_copy, "locate", lambda *_: [broken])
    with pytest.raises(BenchmarkFailed, match=r"could not be made: ValueError"):
        await pull_eight_bit_copy(tmp_path)
