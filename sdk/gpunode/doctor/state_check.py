"""The client's state folder."""

from gpunode_protocol.diagnosis import Finding
from gpunode_protocol.folder_check import judge_folder, look_at_folder

from gpunode._state import StateDir
from gpunode.doctor.tracker_facts import TrackerFacts

STATE_BYTES = 16 * 1024**2
"""Key, pinned network, grants and known nodes: no file is larger than 4 MiB."""


def check_state(facts: TrackerFacts) -> Finding:
    """Look at the folder in which a client keeps its key and what it knows."""
    return judge_folder(
        look_at_folder(StateDir(facts.config().state_dir).path),
        needed_bytes=STATE_BYTES,
        needed_for="what a client keeps",
        move_with="--state-dir or GPUNODE_STATE_DIR",
    )
