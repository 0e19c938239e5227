import asyncio
import gc
import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

import pytest
from gpunode.client import InferenceClient
from gpunode.errors import ClientClosed, ClientError, NoNodeFound
from gpunode.streaming import ChatStream
from gpunode.types import ChatResult, Chunk

from tests.sdk.world import HELLO, World, regions_reply


@pytest.fixture
def client(world: World) -> Iterator[InferenceClient]:
    """A synchronous client of the world."""
    with InferenceClient.from_config(world.config(), world.surroundings()) as client:
        yield client


def test_an_answer_without_an_event_loop(world: World, client: InferenceClient) -> None:
    """The façade returns what the asynchronous client does."""
    world.add_node()
    answer = client.chat(messages=HELLO)
    assert isinstance(answer, ChatResult)
    assert answer.response == "Paris is the capital."
    assert client.balance().account == "demo"
    assert [node.node for node in client.nodes()] == [answer.route.node]


def test_regions_without_an_event_loop(world: World, client: InferenceClient) -> None:
    """As from the client with one."""
    world.tracker.places = regions_reply(europe=1)
    assert {item.region: item.nodes for item in client.regions().regions}["europe"] == 1


def test_a_stream_is_an_iterator(world: World, client: InferenceClient) -> None:
    """Chunks, then the result."""
    world.add_node()
    with client.chat(messages=HELLO, stream=True) as chunks:
        texts = [chunk.text for chunk in chunks]
        assert all(isinstance(text, str) for text in texts)
        assert "".join(texts) == chunks.result.response
    assert isinstance(Chunk("", ()), tuple)


def test_leaving_a_stream_early_cancels(world: World, client: InferenceClient) -> None:
    """As in the asynchronous client."""
    node = world.add_node(endless=True)
    with client.chat(messages=HELLO, stream=True) as chunks:
        next(chunks)
    client.close()
    assert node.jobs[0].is_settled


def test_a_forgotten_stream_cancels(world: World, client: InferenceClient) -> None:
    """Dropping the iterator in the caller's thread reaches the loop's thread."""
    node = world.add_node(endless=True)
    chunks = client.chat(messages=HELLO, stream=True)
    next(chunks)
    del chunks
    gc.collect()
    client.close()
    assert node.cancelled.is_set()


async def test_it_works_beside_a_running_loop(world: World, client: InferenceClient) -> None:
    """As in Jupyter: the caller's thread has a loop of its own, which must not matter."""
    world.add_node()
    assert asyncio.get_running_loop().is_running()
    assert client.chat(messages=HELLO).response == "Paris is the capital."


def test_errors_reach_the_caller(client: InferenceClient) -> None:
    """The exception is the one of the asynchronous client."""
    with pytest.raises(NoNodeFound):
        client.chat(messages=HELLO)


def test_a_closed_client_says_so(world: World) -> None:
    """After the with block there is no answer."""
    with InferenceClient.from_config(world.config(), world.surroundings()) as client:
        pass
    with pytest.raises(ClientClosed):
        client.chat(messages=HELLO)


def _chat_in_child(client: InferenceClient, answers: Any) -> None:
    answers.put((os.getpid(), client.chat(messages=HELLO).response))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_makes_its_own_connections(world: World, client: InferenceClient) -> None:
    """The loop's thread does not survive a fork; the child gets another, and the parent's goes on."""
    world.add_node()
    client.chat(messages=HELLO)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_chat_in_child, args=(client, answers))
    child.start()
    try:
        assert answers.get(timeout=20) == (child.pid, "Paris is the capital.")
    finally:
        child.join(timeout=20)
    assert client.chat(messages=HELLO).response == "Paris is the capital."


def _read_on_in_child(chunks: ChatStream, answers: Any) -> None:
    with chunks:
        try:
            next(chunks)
        except ClientError as error:
            answers.put(str(error))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_stream_stays_with_the_process_that_began_it(world: World, client: InferenceClient) -> None:
    """A forked child is told so, and closing it there, as the end of a with block does, neither hangs nor ends it."""
    world.add_node()
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    with client.chat(messages=HELLO, stream=True) as chunks:
        first = next(chunks)
        child = context.Process(target=_read_on_in_child, args=(chunks, answers))
        child.start()
        try:
            assert "forked from" in answers.get(timeout=20)
            child.join(timeout=20)
            assert child.exitcode == 0
        finally:
            child.kill()
            child.join()
        assert first.text + "".join(chunk.text for chunk in chunks) == "Paris is the capital."
