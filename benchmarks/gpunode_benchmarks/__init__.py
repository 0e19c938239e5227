"""Benchmarks: what the network does, measured."""
