"""Failures of benches."""

from gpunode_protocol.errors import GpunodeError


class BenchmarkFailed(GpunodeError):
    """A bench ended without a result, so there is no figure to show. Run it again with --debug for details."""
