"""A hostile node's mutated frames: the caller gets the whole answer, or one of the documented errors."""

import random
from collections import Counter
from typing import Any

import pytest
from gpunode.errors import ClientError, VerificationFailed
from gpunode_protocol.errors import JobError
from gpunode_protocol.framing import HEADER_BYTES
from gpunode_protocol.regions import Region

from tests.acceptance.framing import framed
from tests.acceptance.test_attack_frames import mutated_payload
from tests.node.virtual_time import virtual_time
from tests.sdk.world import HELLO, World

SEED = 20_240_609
WORDS = tuple(f" {number}" for number in range(40))
COUNTS = [80, pytest.param(1_000, marks=[pytest.mark.full, pytest.mark.timeout(1_200)])]


class Garbler:
    """Mutates a job's frames, one in ``every``; some of them are cut, and some headers lie."""

    def __init__(self, generator: random.Random, every: int = 30) -> None:
        self._generator = generator
        self._every = every

    def __call__(self, frame: bytes) -> bytes:
        """Return what is sent instead of a frame."""
        generator = self._generator
        if generator.randrange(self._every):
            return frame
        payload = mutated_payload(frame[HEADER_BYTES:], generator)
        return framed(payload, length=None if generator.randrange(5) else generator.randrange(2**32))


async def _ask(world: World, **options: Any) -> "tuple[Any, str]":
    """Ask once; return the result, or None and what was raised: nothing but what is documented."""
    async with world.client(job_timeout_s=30.0) as client:
        try:
            return await client.chat(messages=HELLO, **options), "answered"
        except (ClientError, JobError, VerificationFailed) as error:
            return None, type(error).__name__


@virtual_time
@pytest.mark.parametrize("count", COUNTS)
async def test_of_the_only_node(world: World, count: int) -> None:
    """What it says is taken for whole only if it is what the node signed."""
    generator, ends = random.Random(SEED), Counter[str]()
    world.add_node(words=WORDS, garble=Garbler(generator))
    for _ in range(count):
        answer, end = await _ask(world)
        ends[end] += 1
        if answer is not None:
            assert answer.response == "".join(WORDS)
            assert answer.ids == tuple(range(len(WORDS)))
    print(f"seed {SEED}", ends)  # noqa: T201 -- a failure must be repeatable
    assert ends["answered"]
    assert len(ends) > 1


@virtual_time
@pytest.mark.parametrize("count", COUNTS)
async def test_of_a_node_beside_a_good_one(world: World, count: int) -> None:
    """The good one finishes what the other began; its own part is right, and every part is named."""
    generator, ends = random.Random(SEED), Counter[str]()
    hostile = world.add_node(words=WORDS, garble=Garbler(generator))
    good = world.add_node(words=WORDS, region=Region.EUROPE, queued=4)
    for _ in range(count):
        answer, end = await _ask(world)
        assert answer is not None, end
        parts = answer.route.segments
        ends["+".join("hostile" if part.node == hostile.peer_id else "good" for part in parts)] += 1
        assert parts[-1].ended == "done"
        if len(parts) == 1:
            assert answer.ids == tuple(range(len(WORDS)))
            assert answer.response == "".join(WORDS)
        elif parts[-1].node == good.peer_id:
            begun = sum(part.output_units for part in parts[:-1])
            assert answer.ids[begun:] == tuple(range(begun, len(WORDS)))
            assert answer.response.endswith("".join(WORDS[begun:]))
    print(f"seed {SEED}", ends)  # noqa: T201 -- a failure must be repeatable
    assert any("good" in end for end in ends)
