"""What the acceptance tests run on the hosts of a lab."""

from pathlib import Path
from typing import Any

from gpunode import AsyncInferenceClient

BEGUN_TOKENS = 20


async def tell_a_story(client: dict[str, Any], model: str, tokens: int, told: str) -> dict[str, Any]:
    """Stream an answer; make the file ``told`` after 20 tokens. Return what was shown, and who gave which part."""
    shown: list[int] = []
    async with AsyncInferenceClient(**client) as asking:
        chunks = await asking.chat(
            messages=[{"role": "user", "content": "Tell me a story."}], model=model, max_tokens=tokens, stream=True
        )
        async for chunk in chunks:
            shown.extend(chunk.ids)
            if len(shown) >= BEGUN_TOKENS:
                Path(told).touch()
        result = chunks.result
    segments = [{"node": part.node, "units": part.output_units, "ended": part.ended} for part in result.route.segments]
    return {"shown": shown, "ids": list(result.ids), "segments": segments}
