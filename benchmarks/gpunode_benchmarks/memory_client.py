"""A program that uses the SDK and then stays, for the memory bench: ``python -m … ORDER``.

ORDER is JSON: ``{"url": …, "api_key": …, "folder": path, "model": …, "jobs": n}``. When the jobs are done, ``run.json``
in the folder says so; the program ends by a signal.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from gpunode import InferenceClient
from gpunode.types import Message

OUTPUT_TOKENS = 16


def run(order: dict[str, Any]) -> None:
    """Send the jobs one after the other, say that they are done, and wait to be ended."""
    folder = Path(order["folder"])
    folder.mkdir()
    with InferenceClient(order["url"], api_key=order["api_key"], state_dir=folder / "s") as client:
        for number in range(order["jobs"]):
            question: Message = {"role": "user", "content": f"What is {number} plus {number}?"}
            client.chat(messages=[question], model=order["model"], max_tokens=OUTPUT_TOKENS)
        draft = folder / "run.tmp"
        draft.write_text(json.dumps({"pid": os.getpid()}), encoding="utf-8")
        draft.rename(folder / "run.json")
        signal.pause()


if __name__ == "__main__":
    run(json.loads(sys.argv[1]))
