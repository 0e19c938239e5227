"""Tests of the benches of engines."""
