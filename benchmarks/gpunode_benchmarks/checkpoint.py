"""From a GGUF file of the Llama family to a safetensors checkpoint, because no package ships chat weights as one.

What was lost in quantisation stays lost: the checkpoint holds the dequantised weights as 16-bit floats. transformers
can read GGUF files too, but neither quickly (15 s instead of 0.6 s) nor to save what it has read.
"""

import json
import tempfile
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
from gpunode_engines.catalogue import CatalogueEntry, HubSource, resolve_model
from gpunode_engines.fetch import locate, pull
from gpunode_engines.gguf import GgufHeader, read_gguf_header
from gpunode_engines.remotes import FolderRemote
from gpunode_engines.safetensors_model import CHECKPOINT_PATTERNS
from gpunode_engines.vocabulary import VOCABULARY_KEYS
from safetensors.numpy import save_file

from gpunode_benchmarks.errors import BenchmarkFailed

_GLOBAL_TENSORS: Final = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
_LAYER_TENSORS: Final = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
# enum llama_token_type: https://github.com/ggml-org/llama.cpp/blob/master/include/llama.h
_NORMAL: Final = 1
_SPECIAL_TYPES: Final = (2, 3)


_TOKENIZER_KEYS: Final = (*VOCABULARY_KEYS, "tokenizer.ggml.merges", "tokenizer.chat_template")

_REPO: Final = "local/smollm2-135m"


def pull_checkpoint(models_dir: Path) -> CatalogueEntry:
    """Convert the demo's model and pull the result into a models folder, as from a mirror; return its entry.

    Raises:
        ModelNotPulled: the package with the model is not installed.
    """
    packaged = resolve_model("smollm2-135m")
    source = HubSource(kind="hub", repo=_REPO, patterns=CHECKPOINT_PATTERNS)
    entry = packaged.model_copy(
        update={"backend": "transformers", "source": source, "bits_per_weight": 16.0, "folder": "smollm2-safetensors"}
    )
    with tempfile.TemporaryDirectory(prefix="gpunode-checkpoint-", dir=models_dir) as mirror:
        write_checkpoint(locate(packaged, models_dir)[0], Path(mirror) / _REPO)
        pull(entry, models_dir, FolderRemote(Path(mirror)))
    return entry


def write_checkpoint(gguf_path: Path, folder: Path) -> Path:
    """Write config, tokenizer and weights of a SmolLM2 model (tied embeddings) into a folder, and return the folder.

    Raises:
        BenchmarkFailed: a model of another family. UnreadableWeights: the file is no usable GGUF file.
    """
    header = read_gguf_header(gguf_path, _TOKENIZER_KEYS)
    if header.architecture != "llama" or header.metadata.get("tokenizer.ggml.pre") != "smollm":
        raise BenchmarkFailed(f"{gguf_path.name} is no SmolLM model; only those can be converted.")
    folder.mkdir(parents=True, exist_ok=True)
    config = _config(header)
    for name, content in {
        "config.json": config,
        "generation_config.json": {"bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"]},
        "tokenizer.json": _tokenizer(header),
        "tokenizer_config.json": _tokenizer_config(header),
    }.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    save_file(_weights(gguf_path, config), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _config(header: GgufHeader) -> dict[str, Any]:
    field = header.metadata
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float16",
        "vocab_size": field["llama.vocab_size"],
        "hidden_size": field["llama.embedding_length"],
        "intermediate_size": field["llama.feed_forward_length"],
        "num_hidden_layers": field["llama.block_count"],
        "num_attention_heads": field["llama.attention.head_count"],
        "num_key_value_heads": field["llama.attention.head_count_kv"],
        "max_position_embeddings": field["llama.context_length"],
        "rms_norm_eps": field["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": field["llama.rope.freq_base"],
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "bos_token_id": field["tokenizer.ggml.bos_token_id"],
        "eos_token_id": field["tokenizer.ggml.eos_token_id"],
    }


def _texts(header: GgufHeader, key: str) -> list[str]:
    values = header.metadata[key]
    return [value.decode() for value in values if isinstance(value, bytes)] if isinstance(values, list) else []


def _tokenizer(header: GgufHeader) -> dict[str, Any]:
    """Return the content of ``tokenizer.json``: byte-level BPE that takes digits one by one, as SmolLM2's does."""
    tokens = _texts(header, "tokenizer.ggml.tokens")
    kinds = header.metadata["tokenizer.ggml.token_type"]
    added = [
        {"id": number, "content": token, "special": kind in _SPECIAL_TYPES}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for number, (token, kind) in enumerate(zip(tokens, kinds if isinstance(kinds, list) else [], strict=True))
        if kind != _NORMAL
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in _texts(header, "tokenizer.ggml.merges")],
        },
    }


def _tokenizer_config(header: GgufHeader) -> dict[str, Any]:
    tokens = _texts(header, "tokenizer.ggml.tokens")
    named = {"bos": "bos_token_id", "eos": "eos_token_id", "unk": "unknown_token_id", "pad": "padding_token_id"}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": header.metadata["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
        **{f"{name}_token": tokens[int(str(header.metadata[f"tokenizer.ggml.{key}"]))] for name, key in named.items()},
    }


def _weights(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    heads = {"attn_q": int(config["num_attention_heads"]), "attn_k": int(config["num_key_value_heads"])}
    weights: dict[str, Any] = {}
    for tensor in gguf.GGUFReader(path).tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if (name := _GLOBAL_TENSORS.get(tensor.name)) is None:
            _, layer, part, _ = tensor.name.split(".")
            name = f"model.layers.{layer}.{_LAYER_TENSORS[part]}.weight"
            if part in heads:
                values = _halves(values, heads[part])
        weights[name] = np.ascontiguousarray(values, dtype=np.float16)
    return weights


def _halves(values: Any, heads: int) -> Any:
    """Undo llama.cpp's order of rotary rows: it pairs neighbours, transformers pairs the two halves of a head."""
    rows, columns = values.shape
    return values.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
