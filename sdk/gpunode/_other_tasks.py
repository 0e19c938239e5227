"""A model that nobody serves for one task may be served for another: then it was only asked for in the wrong way."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from gpunode._discovery import Discovery
from gpunode._model_names import ALIASES
from gpunode._selection import Wanted

_HOW_TO_ASK: Final[Mapping[Task, str]] = {
    Task.LLM: "a language model: ask it by 'gpunode chat' or client.chat()",
    Task.IMAGE_GEN: "an image model: ask it by 'gpunode image' or client.generate_image()",
    Task.WHISPER: "a speech model: ask it by 'gpunode transcribe' or client.transcribe()",
    Task.EMBEDDING: "an embedding model: ask it by client.embed()",
}


async def how_to_ask(discovery: Discovery, wanted: Wanted, home: Region | None) -> str:
    """Return what kind of model ``wanted.model`` is where it is served for another task; empty if it is not."""
    if wanted.model is None:
        return ""
    model = ALIASES.get(wanted.model.lower(), wanted.model)
    others = [task for task in Task if task is not wanted.task]
    found = await asyncio.gather(
        *(discovery.find(replace(wanted, task=task, model=model), home=home) for task in others)
    )
    serving = [task for task, its in zip(others, found, strict=True) if its.candidates]
    return f"{model} is {_HOW_TO_ASK[serving[0]]}" if serving else ""
