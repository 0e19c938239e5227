"""What the acceptance tests run on the hosts of a lab."""

import asyncio
import itertools
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from gpunode import AsyncInferenceClient
from gpunode.errors import GpunodeError, TrackerError
from gpunode.types import Message
from gpunode_benchmarks import overhead_node
from gpunode_node import advert_builder, announcer, startup
from gpunode_protocol.adverts import ADVERT_LIFETIME_S, ANNOUNCE_INTERVAL_S
from gpunode_protocol.mesh import MeshConfig, _hivemind_membership

BEGUN_TOKENS = 20
HASTE = 6
"""So many times faster hasty nodes announce themselves and look after their mesh, and their adverts run out."""
_LEDGER_PATIENCE_S = 60.0


def run_hasty_node(order: dict[str, Any]) -> int:
    """Run a node, see ``overhead_node.main``, for which the mesh's minutes pass six times faster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(announcer, "ANNOUNCE_INTERVAL_S", ANNOUNCE_INTERVAL_S / HASTE)
        patch.setattr(announcer, "CHANGE_INTERVAL_S", announcer.CHANGE_INTERVAL_S / HASTE)
        patch.setattr(advert_builder, "ADVERT_LIFETIME_S", ADVERT_LIFETIME_S // HASTE)
        rejoin_interval_s = MeshConfig(identity_path=Path(), state_dir=Path()).rejoin_interval_s / HASTE
        patch.setattr(startup, "MeshConfig", partial(MeshConfig, rejoin_interval_s=rejoin_interval_s))
        patch.setattr(_hivemind_membership, "GREET_TIMEOUT_S", _hivemind_membership.GREET_TIMEOUT_S / HASTE)
        return overhead_node.main(order)


async def tell_a_story(client: dict[str, Any], model: str, tokens: int, told: str) -> dict[str, Any]:
    """Stream an answer; make the file ``told`` after 20 tokens.

    Return what was shown, who gave which part, and the longest time from one piece to the next, in seconds.
    """
    shown: list[int] = []
    came_at: list[float] = []
    async with AsyncInferenceClient(**client) as asking:
        chunks = await asking.chat(
            messages=[{"role": "user", "content": "Tell me a story."}], model=model, max_tokens=tokens, stream=True
        )
        async for chunk in chunks:
            came_at.append(time.monotonic())
            shown.extend(chunk.ids)
            if len(shown) >= BEGUN_TOKENS:
                Path(told).touch()
        result = chunks.result
    segments = [{"node": part.node, "units": part.output_units, "ended": part.ended} for part in result.route.segments]
    return {
        "shown": shown,
        "ids": list(result.ids),
        "segments": segments,
        "longest_pause_s": _longest_pause_s(came_at),
    }


def _longest_pause_s(instants: list[float]) -> float:
    return max((after - before for before, after in itertools.pairwise(instants)), default=0.0)


async def keep_asking(
    client: dict[str, Any], model: str, tokens: int, seconds: float, told: str
) -> list[dict[str, Any]]:
    """Ask one job after the other, at least one.

    Return of each what was wrong (empty: nothing), its receipt, and the longest time from one piece to the next, in s.

    After 20 tokens of an answer the file ``told`` has its number and the node that gives it.
    """
    outcomes: list[dict[str, Any]] = []
    ends_at = time.monotonic() + seconds
    async with AsyncInferenceClient(**client) as asking:
        while not outcomes or time.monotonic() < ends_at:
            outcomes.append(await _ask(asking, model, tokens, number=len(outcomes), told=Path(told)))
    return outcomes


async def _ask(client: AsyncInferenceClient, model: str, tokens: int, *, number: int, told: Path) -> dict[str, Any]:
    messages: list[Message] = [{"role": "user", "content": f"Tell me story {number}."}]
    shown: list[int] = []
    came_at: list[float] = []
    is_told = False
    try:
        chunks = await client.chat(messages=messages, model=model, max_tokens=tokens, stream=True)
        async for chunk in chunks:
            came_at.append(time.monotonic())
            shown.extend(chunk.ids)
            if not is_told and len(shown) >= BEGUN_TOKENS and chunks.route is not None:
                is_told = True
                _tell(told, f"{number} {chunks.route.node}")
        result = chunks.result
    except GpunodeError as error:
        return {
            "problem": f"{type(error).__name__}: {error}",
            "receipt": "",
            "segments": 0,
            "longest_pause_s": _longest_pause_s(came_at),
        }
    is_whole = shown == list(result.ids) == list(range(result.ids[0], result.ids[0] + tokens))
    problem = "" if is_whole else "tokens are missing or repeated"
    return {
        "problem": problem,
        "receipt": result.receipt.id,
        "segments": len(result.route.segments),
        "longest_pause_s": _longest_pause_s(came_at),
    }


def _tell(told: Path, text: str) -> None:
    """Write a file that whoever watches it finds whole."""
    draft = told.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(told)


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
