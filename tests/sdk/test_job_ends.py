"""How whole jobs end of which nothing came. Answers that broke off: see ``test_resuming``."""

import pytest
from gpunode.errors import NoNodeFound, RequestRefused
from gpunode_protocol.errors import ErrorCode, JobError, job_error
from gpunode_protocol.regions import Region

from tests.sdk.world import HELLO, World

REFUSED = job_error(ErrorCode.INVALID_PARAMETERS, "said the node")
UNABLE = JobError(ErrorCode.INVALID_PARAMETERS, "no tools", retryable=True)


async def test_a_fault_of_the_request_is_believed_of_one_where_nobody_else_is(world: World) -> None:
    """There is no second opinion to be had."""
    world.add_node(refuse=[REFUSED])
    async with world.client() as client:
        with pytest.raises(RequestRefused, match="said the node"):
            await client.chat(messages=HELLO)


async def test_what_one_node_says_is_not_believed_while_others_fail(world: World) -> None:
    """Who could not answer has not said the same."""
    world.add_node(refuse=[REFUSED])
    world.add_node(region=Region.EUROPE, cut_after=0).queued = 4
    async with world.client() as client:
        with pytest.raises(NoNodeFound, match="1 x said the node") as caught:
            await client.chat(messages=HELLO)
    assert not caught.value.is_only_load


async def test_what_no_node_can_do_is_told(world: World) -> None:
    """All that there are say the same."""
    for _ in range(2):
        world.add_node(refuse=[UNABLE])
    async with world.client() as client:
        with pytest.raises(RequestRefused, match="no tools"):
            await client.chat(messages=HELLO)


async def test_what_those_cannot_do_that_may_be_asked_others_might(world: World) -> None:
    """No more nodes are asked than the caller allows, so it is not known of all."""
    for _ in range(2):
        world.add_node(refuse=[UNABLE])
    async with world.client(max_attempts=1) as client:
        with pytest.raises(NoNodeFound, match="1 x no tools"):
            await client.chat(messages=HELLO)
