"""The library faster-whisper alone in a process. Run by ``bare_child``.

Its settings are the library's own, but for what must be equal on both sides: model, int8, CPU threads, language, no
filter of silence. It loads ``{"root", "threads"}``; each order, ``{"file", "language"}``, is one file written down.
"""

import time
from typing import Any

import faster_whisper

from gpunode_benchmarks.engines.bare.service import serve


def _load(load: dict[str, Any]) -> Any:
    return faster_whisper.WhisperModel(
        load["root"], device="cpu", compute_type="int8", cpu_threads=load["threads"], local_files_only=True
    )


def _transcribe(model: Any, order: dict[str, Any]) -> float:
    started_at = time.perf_counter()
    segments, _ = model.transcribe(order["file"], language=order["language"], vad_filter=False)
    if not list(segments):
        raise SystemExit("The library found nothing to write down.")
    return time.perf_counter() - started_at


if __name__ == "__main__":
    serve(_load, _transcribe)
