"""The kinds of work that a node can serve."""

from enum import StrEnum


class Task(StrEnum):
    """Task names, the same on the wire, in the SDK and in REST."""

    LLM = "llm"
    IMAGE_GEN = "image_gen"
    WHISPER = "whisper"
    EMBEDDING = "embedding"
