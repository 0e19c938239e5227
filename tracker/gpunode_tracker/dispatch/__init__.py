"""Queued jobs on mesh nodes: the tracker takes them from its queue and runs them as a client of its own network."""
