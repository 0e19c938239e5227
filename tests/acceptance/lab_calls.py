"""What the acceptance tests run on the hosts of a lab."""

import asyncio
import time
from pathlib import Path
from typing import Any

from gpunode import AsyncInferenceClient
from gpunode.errors import GpunodeError, TrackerError

BEGUN_TOKENS = 20
_LEDGER_PATIENCE_S = 60.0


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


async def keep_asking(client: dict[str, Any], model: str, tokens: int, seconds: float) -> list[dict[str, Any]]:
    """Ask one job after the other, at least one; return of each what was wrong (empty: nothing) and its receipt."""
    outcomes: list[dict[str, Any]] = []
    ends_at = time.monotonic() + seconds
    async with AsyncInferenceClient(**client) as asking:
        while not outcomes or time.monotonic() < ends_at:
            outcomes.append(await _ask(asking, model, tokens, number=len(outcomes)))
    return outcomes


async def _ask(client: AsyncInferenceClient, model: str, tokens: int, *, number: int) -> dict[str, Any]:
    try:
        result = await client.chat(
            messages=[{"role": "user", "content": f"Tell me story {number}."}], model=model, max_tokens=tokens
        )
    except GpunodeError as error:
        return {"problem": f"{type(error).__name__}: {error}", "receipt": "", "segments": 0}
    is_whole = list(result.ids) == list(range(result.ids[0], result.ids[0] + tokens))
    problem = "" if is_whole else "tokens are missing or repeated"
    return {"problem": problem, "receipt": result.receipt.id, "segments": len(result.route.segments)}


async def found_in_dht(client: dict[str, Any], model: str) -> list[str]:
    """Return the nodes that a client finds in the DHT, without those that only the index or its memory tell of."""
    async with AsyncInferenceClient(**client) as asking:
        return [node.node for node in await asking.nodes(model=model) if node.source == "dht"]


async def missing_receipts(client: dict[str, Any], receipts: list[str]) -> list[str]:
    """Wait a minute at most for the ledger to have all receipts; return those that it has not."""
    missing, ends_at = receipts, time.monotonic() + _LEDGER_PATIENCE_S
    async with AsyncInferenceClient(**client) as asking:
        while missing and time.monotonic() < ends_at:
            await asyncio.sleep(1)
            missing = [receipt for receipt in missing if not await _is_proven(asking, receipt)]
    return missing


async def _is_proven(client: AsyncInferenceClient, receipt: str) -> bool:
    try:
        await client.receipt_proof(receipt)
    except TrackerError:
        return False
    return True
