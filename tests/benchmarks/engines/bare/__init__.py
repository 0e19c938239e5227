"""Tests of the processes with a bare library."""
