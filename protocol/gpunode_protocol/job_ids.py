"""Ids of jobs: UUIDv7, so that they are in the order of time."""

import os
from uuid import UUID


def new_job_id(now: float) -> str:
    """Return a UUIDv7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, then random bits. now: Unix seconds."""
    value = int(now * 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76  # version 7
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant 10
    return str(UUID(int=value))
