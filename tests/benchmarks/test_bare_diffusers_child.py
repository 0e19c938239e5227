import json
import subprocess
import sys

from gpunode_benchmarks.image_bench import PICTURE

from tests.engines.tiny_pipelines import DIGITS


def test_standard_output_has_an_answer_a_line_and_nothing_else() -> None:
    """What the library prints goes elsewhere; at the end of its input the child ends."""
    order = json.dumps({**PICTURE, "steps": 2, "seed": 1})
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "gpunode_benchmarks.bare_diffusers_child",
            json.dumps({"root": str(DIGITS), "threads": 1}),
        ],
        input=f"{order}\n{order}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    ready, *answers = (json.loads(line) for line in done.stdout.splitlines())
    assert ready == {"ready": True}
    assert all(answer["elapsed_s"] > 0 for answer in answers)
    assert len(answers) == 2
