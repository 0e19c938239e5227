from gpunode_benchmarks.errors import BenchmarkFailed


def test_a_failure_tells_what_to_do() -> None:
    """Without a message of its own, it shows its docstring to the user."""
    assert "Run it again with --debug" in str(BenchmarkFailed())
