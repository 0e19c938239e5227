"""Tests; each folder mirrors the package of the same component."""
