import json
import subprocess
import sys
from pathlib import Path


def test_standard_output_has_an_answer_a_line_and_nothing_else(smollm2_path: Path) -> None:
    """What the library prints goes elsewhere; at the end of its input the child ends."""
    load = json.dumps({"model_path": str(smollm2_path), "slots": 2, "context_tokens": 64, "threads": 1})
    order = json.dumps({"prompts": [[1, 4093], [1, 4094]], "output_tokens": 2})
    done = subprocess.run(
        [sys.executable, "-m", "gpunode_benchmarks.bare_llamacpp_child", load],
        input=f"{order}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    ready, answer = (json.loads(line) for line in done.stdout.splitlines())
    assert ready == {"ready": True}
    assert answer["elapsed_s"] > 0
