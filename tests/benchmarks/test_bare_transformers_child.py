import json
import subprocess
import sys
from pathlib import Path

from gpunode_benchmarks.checkpoint import pull_checkpoint


def test_standard_output_has_an_answer_a_line_and_nothing_else(smollm2_path: Path, tmp_path: Path) -> None:
    """What the library prints goes elsewhere; at the end of its input the child ends."""
    assert smollm2_path.is_file()
    folder = tmp_path / pull_checkpoint(tmp_path).stored_as
    load = json.dumps({"library": "transformers", "model_path": str(folder), "threads": 1})
    order = json.dumps({"prompts": [[1, 4093], [1, 4094]], "output_tokens": 2})
    done = subprocess.run(
        [sys.executable, "-m", "gpunode_benchmarks.bare_transformers_child", load],
        input=f"{order}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    ready, answer = (json.loads(line) for line in done.stdout.splitlines())
    assert ready == {"ready": True}
    assert answer["elapsed_s"] > 0
