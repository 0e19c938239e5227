import subprocess
import sys


def test_importing_the_package_imports_nothing_heavy() -> None:
    """aiohttp, hivemind and torch come with the first use, pydantic too."""
    code = (
        "import sys, gpunode; assert dir(gpunode) == sorted(gpunode.__all__); "
        "print([m for m in ('aiohttp', 'hivemind', 'torch', 'pydantic', 'nacl') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_clients_import_no_mesh() -> None:
    """hivemind costs time and memory; it is imported when the mesh is joined."""
    code = (
        "import sys; from gpunode import InferenceClient; print([m for m in ('hivemind', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
