"""Backends: the only modules that import ML libraries. They run in engine child processes, never in the node."""
