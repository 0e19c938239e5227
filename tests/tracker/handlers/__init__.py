"""Tests of the HTTP handlers."""
