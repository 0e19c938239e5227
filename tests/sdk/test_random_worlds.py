"""Many jobs at once in worlds made by chance, in virtual time: nodes fail in all ways, callers go at any moment."""

import asyncio
import contextlib
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from gpunode import AsyncInferenceClient
from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.mesh.knock import Door

from tests.node.virtual_time import CreepingTimeLoop
from tests.sdk.scripted_node import ScriptedNode
from tests.sdk.world import HELLO, World

WORDS = tuple(f"word{number} " for number in range(6))
REFUSALS = (ErrorCode.TOO_MANY_STREAMS, ErrorCode.BUSY, ErrorCode.INTERNAL, ErrorCode.GRANT_EXHAUSTED)
LEAVING_S = 10.0
"""Until the last stream of a job that is over is closed."""


async def _nobody_tells(_doors: Sequence[Door]) -> bool:
    return False


def _faults(random: Random) -> dict[str, Any]:
    """Return one of the ways in which nodes fail, or none."""
    at = random.randrange(len(WORDS))
    refusals = [job_error(random.choice(REFUSALS), "no", retry_after_s=random.choice((None, 0.0, 5.0)))] * at
    return random.choice(
        (
            {},
            {"cut_after": at},
            {"silent": True},
            {"mute_after": at, "pings": True},
            {"dies_unsettled": True},
            {"refuse": refusals},
            {"max_streams": random.choice((0, 3))},
        )
    )


def _add_nodes(world: World, random: Random) -> None:
    """Add a healthy node and up to three others."""
    pace = {"words": WORDS, "token_s": random.choice((0.0, 0.01, 0.1)), "hesitates_s": random.choice((0.0, 0.05))}
    world.add_node(**pace)
    for _ in range(random.randint(0, 3)):
        world.add_node(active=random.choice((0, 4)), **pace, **_faults(random))


async def _job(client: AsyncInferenceClient, random: Random, answers: list[str]) -> None:
    """Ask; every third caller goes before it has its answer, some of them twice."""
    await asyncio.sleep(random.choice((0.0, random.random())))
    task = asyncio.ensure_future(client.chat(messages=HELLO))
    if random.random() < 1 / 3:
        await asyncio.sleep(random.choice((0.0, random.random())))
        for _ in range(random.randint(1, 2)):
            task.cancel()
            await asyncio.sleep(0)
        with contextlib.suppress(asyncio.CancelledError):
            await task
    else:
        answers.append((await task).response)


async def _kill(world: World, node: ScriptedNode, random: Random) -> None:
    """Take a node off the network, with all streams or without a word."""
    await asyncio.sleep(random.random())
    world.remove_node(node.peer_id)
    for task in [task for task in world.mesh.serving if task.get_name() == node.peer_id]:
        if random.random() < 1 / 2:
            task.cancel()


def _leftovers(client: AsyncInferenceClient) -> list[Any]:
    """Return what jobs that are over have not given back."""
    ready = client._session._open
    assert ready is not None
    services = ready.services
    counted = [job for queue in services.prober._own.values() for job in queue if job.over_at is None]
    promised = [jti for jti, microcredits in ready.grants._spending._promised.items() if microcredits]
    return [*services.places._taken, *services.places._waiting, *services.turns._last, *counted, *promised]


async def _run(world: World, random: Random) -> None:
    _add_nodes(world, random)
    answers: list[str] = []
    surroundings = world.surroundings(resume_for_s=15.0, all_refuse=_nobody_tells)
    async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
        killing = [_kill(world, node, random) for node in world.nodes[1:] if random.random() < 1 / 3]
        await asyncio.gather(*(_job(client, random, answers) for _ in range(24)), *killing)
        await asyncio.sleep(LEAVING_S)
        assert _leftovers(client) == []
    assert set(answers) == {"".join(WORDS)}
    vouchers = [job.last_voucher.body for node in world.nodes for job in node.jobs if job.last_voucher is not None]
    paid = [(body.job, token) for body in vouchers for token in range(body.start, body.start + body.count)]
    assert len(paid) == len(set(paid))


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.full) for seed in range(8, 200))])
def test_every_job_is_done_and_nothing_is_left_behind(world: World, seed: int) -> None:
    """One healthy node is enough. No token is paid twice; places, turns and promised credits are given back."""
    with asyncio.Runner(loop_factory=CreepingTimeLoop) as runner:
        runner.run(_run(world, Random(seed)))
