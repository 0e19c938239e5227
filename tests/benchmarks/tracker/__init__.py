"""The tracker bench."""
