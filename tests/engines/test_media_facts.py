"""Headers of model files, read without loading a weight."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_engines.errors import UnreadableWeights
from gpunode_engines.media_facts import read_media_facts, read_safetensors_header
from gpunode_engines.model_facts import ModelFacts


def _safetensors(path: Path, header: object) -> Path:
    data = json.dumps(header).encode()
    path.write_bytes(len(data).to_bytes(8, "little") + data + bytes(208))
    return path


HEADER: dict[str, object] = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    "b": {"dtype": "F16", "shape": [100], "data_offsets": [8, 208]},
}


def test_safetensors(tmp_path: Path) -> None:
    """The type that holds most bytes counts; the context stands in the configuration."""
    weights = _safetensors(tmp_path / "model.safetensors", HEADER)
    config = tmp_path / "config.json"
    config.write_text('{"max_position_embeddings": 512}')
    facts = ModelFacts(
        quantisation="F16", trained_context_tokens=512, weights_bytes=weights.stat().st_size, kv_bytes_per_token=0
    )
    assert read_media_facts(tmp_path, (config, weights)) == facts
    assert read_media_facts(tmp_path, (weights,)) == replace(facts, trained_context_tokens=0)


def test_ctranslate2(tmp_path: Path) -> None:
    """Known by its file name."""
    weights = tmp_path / "model.bin"
    weights.touch()
    assert read_media_facts(tmp_path, (weights,)).quantisation == "ctranslate2"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "unet/x.CKPT", "model.bin"])
def test_pickles_are_refused_by_name(tmp_path: Path, name: str) -> None:
    """Also beside safetensors, where a file named as CTranslate2's weights is a pickle like every other."""
    weights = _safetensors(tmp_path / "model.safetensors", HEADER)
    with pytest.raises(UnreadableWeights, match="is a pickle"):
        read_media_facts(tmp_path, (tmp_path / name, weights))


def test_files_without_weights(tmp_path: Path) -> None:
    """Nothing can be served."""
    with pytest.raises(UnreadableWeights, match="no weights that can be served"):
        read_media_facts(tmp_path, (tmp_path / "readme.md",))


@pytest.mark.parametrize("content", [b"", b"\x05", b"\xff" * 8 + b"{}", b"\x02" + bytes(7) + b"{x"])
def test_damaged_safetensors(tmp_path: Path, content: bytes) -> None:
    """A cut header, a bogus length and broken JSON are told apart from a crash."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(UnreadableWeights, match="pull the model again"):
        read_safetensors_header(path)


@pytest.mark.parametrize(
    "header",
    [
        [1, 2], {"a": 5}, {"a": {"dtype": "F16"}}, {"a": {"dtype": 3, "data_offsets": [0, 8]}},
        {"a": {"dtype": "F16", "data_offsets": [0]}}, {"a": {"dtype": "F16", "data_offsets": ["0", "8"]}},
        {"a": {"dtype": "F16", "data_offsets": [8, 0]}}, {"a": {"dtype": "F16", "data_offsets": [0, 209]}},
    ],
)  # fmt: skip
def test_headers_that_make_no_sense(tmp_path: Path, header: object) -> None:
    """An error of the model, not of the program."""
    weights = _safetensors(tmp_path / "model.safetensors", header)
    with pytest.raises(UnreadableWeights, match="pull the model again"):
        read_media_facts(tmp_path, (weights,))


def test_a_context_that_is_no_number(tmp_path: Path) -> None:
    """Named."""
    weights = _safetensors(tmp_path / "model.safetensors", HEADER)
    config = tmp_path / "config.json"
    for value in ('"many"', "[1]", "-1"):
        config.write_text(f'{{"max_position_embeddings": {value}}}')
        with pytest.raises(UnreadableWeights, match="no usable max_position_embeddings"):
            read_media_facts(tmp_path, (config, weights))


def test_a_damaged_configuration(tmp_path: Path) -> None:
    """The message names the file."""
    weights = _safetensors(tmp_path / "model.safetensors", HEADER)
    config = tmp_path / "config.json"
    config.write_text("{")
    with pytest.raises(UnreadableWeights, match=r"config\.json"):
        read_media_facts(tmp_path, (config, weights))
