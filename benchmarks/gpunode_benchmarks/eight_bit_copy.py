"""A copy of the demo's chat model with weights of eight bits, made from the four of the packaged file.

llama.cpp multiplies a Q8_0 matrix with the tokens of several streams at once; for Q4_1, the packaged format, it has no
such kernel and takes them one by one. Common chat models come in formats with such kernels (Q4_K, Q8_0). No package
ships one, so the bench writes its own. The values stay those of the packaged file, rounded to 1/127 of each block's
largest.

``python -m gpunode_benchmarks.eight_bit_copy FILE COPY`` does it in a process of its own.
"""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Final

import gguf
from gpunode_engines.catalogue import CatalogueEntry, HubSource, resolve_model
from gpunode_engines.fetch import locate, pull
from gpunode_engines.remotes import FolderRemote

from gpunode_benchmarks.errors import BenchmarkFailed

FORMAT: Final = gguf.GGMLQuantizationType.Q8_0
_BITS_PER_WEIGHT: Final = 8.5
"""Blocks of 32 with a 16-bit factor each."""
_MODEL: Final = "smollm2-135m"
_REPO: Final = "local/smollm2-135m-q8_0"
_AS_THEY_ARE: Final = (gguf.GGMLQuantizationType.F32, FORMAT)


async def pull_eight_bit_copy(models_dir: Path) -> CatalogueEntry:
    """Write the copy in another process, pull it into a models folder as from a mirror, and return its entry.

    Raises:
        ModelNotPulled: the package with the model is not installed. BenchmarkFailed: the copy could not be made.
    """
    packaged = resolve_model(_MODEL)
    repo = models_dir / "mirror" / _REPO
    repo.mkdir(parents=True)
    source = locate(packaged, models_dir)[0]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", __name__, str(source), str(repo / f"{_MODEL}.Q8_0.gguf")),
        stderr=subprocess.PIPE,
    )
    _, said = await process.communicate()
    if process.returncode:
        reason = said.decode(errors="replace").strip().rpartition("\n")[2]
        raise BenchmarkFailed(f"The copy with 8-bit weights could not be made: {reason}")
    entry = packaged.model_copy(
        update={
            "source": HubSource(kind="hub", repo=_REPO, patterns=("*.gguf",)),
            "bits_per_weight": _BITS_PER_WEIGHT,
            "folder": "smollm2-q8_0",
        }
    )
    await asyncio.to_thread(pull, entry, models_dir, FolderRemote(models_dir / "mirror"))
    return entry


def write_eight_bit_copy(source: Path, target: Path) -> None:
    """Write a GGUF file's metadata and tensors into another file, quantised tensors as Q8_0, vectors as they are."""
    reader = gguf.GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue  # the writer writes these itself
        kind, *_ = field.types
        element = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=element)
    for tensor in reader.tensors:
        data, form = tensor.data, tensor.tensor_type
        if form not in _AS_THEY_ARE:
            data, form = gguf.quants.quantize(gguf.quants.dequantize(data, form), FORMAT), FORMAT
        writer.add_tensor(tensor.name, data, raw_dtype=form)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    write_eight_bit_copy(Path(sys.argv[1]), Path(sys.argv[2]))
