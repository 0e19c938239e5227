"""``python -m gpunode``."""

import subprocess
import sys


def test_the_module_is_the_command() -> None:
    """Running the package prints the command's version."""
    done = subprocess.run([sys.executable, "-m", "gpunode", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("gpunode ")
