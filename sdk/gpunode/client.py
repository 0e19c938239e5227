"""The client for code without an event loop: ``AsyncInferenceClient`` on a loop in a background thread."""

import atexit
import contextlib
import os
import weakref
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar, Unpack, overload

from gpunode_protocol.ledger_proofs import ReceiptProof
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import BalanceReply, EntriesReply

from gpunode._chat import ChatOptions
from gpunode._images import ImageOptions
from gpunode._loop_thread import LoopThread, shared_loop
from gpunode._queue_calls import AsyncQueueCalls, QueueCalls
from gpunode._speech import AudioSource, SpeechOptions
from gpunode._surroundings import Surroundings
from gpunode.async_client import AsyncInferenceClient, ClientSettings, load_config
from gpunode.config import ClientConfig
from gpunode.regions import NetworkRegions
from gpunode.routing import Limits, RouteExplanation
from gpunode.streaming import ChatStream
from gpunode.transcripts import TranscriptResult
from gpunode.types import (
    ChatResult,
    EmbeddingResult,
    ImageProgress,
    ImageResult,
    Message,
    NodeInfo,
    SpokenSegment,
)

T = TypeVar("T")

_open_clients: "weakref.WeakSet[InferenceClient]" = weakref.WeakSet()
_left_to_the_parent: Final[list[AsyncInferenceClient]] = []
"""Clients that a forked child inherited: their sockets and processes are the parent's, so nothing may clean them up."""


class InferenceClient(QueueCalls):
    """A client of one network; its methods may be called from any thread.

    ::

        with InferenceClient("https://tracker.example", api_key="…") as client:
            print(client.chat(messages=[{"role": "user", "content": "Hello!"}]).response)

    Args:
        tracker: the tracker's address, or GPUNODE_TRACKER.
        api_key: an account's key, or GPUNODE_API_KEY.
        settings: see ``ClientSettings``.

    Raises:
        InvalidSettings: a setting cannot be used.
    """

    def __init__(
        self, tracker: str | None = None, *, api_key: str | None = None, **settings: Unpack[ClientSettings]
    ) -> None:
        self._attach(load_config(tracker, api_key, settings), None)

    @classmethod
    def from_config(cls, config: ClientConfig, surroundings: Surroundings | None = None) -> Self:
        """Return the client of a configuration; ``surroundings`` are for tests."""
        client = cls.__new__(cls)
        client._attach(config, surroundings)  # noqa: SLF001 -- another constructor
        return client

    def _attach(self, config: ClientConfig, surroundings: Surroundings | None) -> None:
        self._config = config
        self._around = surroundings
        self._pid = os.getpid()
        self._client = AsyncInferenceClient.from_config(config, surroundings)
        self._is_closed = False
        _open_clients.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        """Leave the mesh in the background when the client is forgotten."""
        if not getattr(self, "_is_closed", True) and self._pid == os.getpid():
            with contextlib.suppress(RuntimeError):  # the interpreter is shutting down: the process's end cleans up
                shared_loop().start(self._client.close())

    def close(self) -> None:
        """Cancel what runs, hand in what is owed, leave the mesh. May be called twice."""
        if not self._is_closed and self._pid == os.getpid():
            self._is_closed = True
            shared_loop().run(self._client.close())

    @overload
    def chat(
        self,
        *,
        messages: Sequence[Message],
        model: str | None = None,
        region: Region | str | None = None,
        limits: Limits | None = None,
        stream: Literal[False] = False,
        **options: Unpack[ChatOptions],
    ) -> ChatResult: ...

    @overload
    def chat(
        self,
        *,
        messages: Sequence[Message],
        model: str | None = None,
        region: Region | str | None = None,
        limits: Limits | None = None,
        stream: Literal[True],
        **options: Unpack[ChatOptions],
    ) -> ChatStream: ...

    def chat(
        self,
        *,
        messages: Sequence[Message],
        model: str | None = None,
        region: Region | str | None = None,
        limits: Limits | None = None,
        stream: bool = False,
        **options: Unpack[ChatOptions],
    ) -> ChatResult | ChatStream:
        """Answer a conversation; arguments and errors as in ``AsyncInferenceClient.chat``."""
        loop, client = self._mine()
        if stream:
            chunks = loop.run(
                client.chat(messages=messages, model=model, region=region, limits=limits, stream=True, **options)
            )
            return ChatStream(chunks, loop.run)
        return loop.run(
            client.chat(messages=messages, model=model, region=region, limits=limits, stream=False, **options)
        )

    def embed(
        self,
        inputs: str | Sequence[str],
        *,
        model: str | None = None,
        region: Region | str | None = None,
        limits: Limits | None = None,
        normalize: bool = True,
    ) -> EmbeddingResult:
        """Return one vector for each text; arguments and errors as in ``AsyncInferenceClient.embed``."""
        loop, client = self._mine()
        return loop.run(client.embed(inputs, model=model, region=region, limits=limits, normalize=normalize))

    def transcribe(
        self,
        audio: AudioSource,
        *,
        model: str | None = None,
        region: Region | str | None = None,
        limits: Limits | None = None,
        on_segment: Callable[[SpokenSegment], None] | None = None,
        **options: Unpack[SpeechOptions],
    ) -> TranscriptResult:
        """Write down what is said in an audio file; arguments and errors as in ``AsyncInferenceClient.transcribe``.

        ``on_segment`` is called in the client's own thread.
        """
        loop, client = self._mine()
        return loop.run(
            client.transcribe(audio, model=model, region=region, limits=limits, on_segment=on_segment, **options)
        )

    def generate_image(
        self,
        prompt: str,
        *,
        model: str | None = None,
        region: Region | str | None = None,
        limits: Limits | None = None,
        on_progress: Callable[[ImageProgress], None] | None = None,
        **options: Unpack[ImageOptions],
    ) -> ImageResult:
        """Draw pictures; arguments and errors as in ``AsyncInferenceClient.generate_image``.

        ``on_progress`` is called in the client's own thread.
        """
        loop, client = self._mine()
        return loop.run(
            client.generate_image(prompt, model=model, region=region, limits=limits, on_progress=on_progress, **options)
        )

    def connect(self) -> None:
        """Join the mesh now, which the first call would do otherwise."""
        loop, client = self._mine()
        loop.run(client.connect())

    def nodes(
        self, *, model: str | None = None, task: Task | str = Task.LLM, region: Region | str | None = None
    ) -> list[NodeInfo]:
        """Return live nodes, best first; needs no API key."""
        loop, client = self._mine()
        return loop.run(client.nodes(model=model, task=task, region=region))

    def regions(self) -> NetworkRegions:
        """Return live nodes and models by region, distances, and where this client is; needs no API key."""
        loop, client = self._mine()
        return loop.run(client.regions())

    def explain(
        self,
        *,
        model: str | None = None,
        task: Task | str = Task.LLM,
        region: Region | str | None = None,
        limits: Limits | None = None,
        input_units: int | None = None,
        output_units: int | None = None,
    ) -> RouteExplanation:
        """Return how a job would be routed now; arguments and errors as in ``AsyncInferenceClient.explain``."""
        loop, client = self._mine()
        return loop.run(
            client.explain(
                model=model,
                task=task,
                region=region,
                limits=limits,
                input_units=input_units,
                output_units=output_units,
            )
        )

    def balance(self) -> BalanceReply:
        """Return the account's balance in micro-credits."""
        loop, client = self._mine()
        return loop.run(client.balance())

    def ledger_entries(self, *, limit: int = 20, cursor: str | None = None) -> EntriesReply:
        """Return the account's ledger entries, newest first; cursor: of the page before."""
        loop, client = self._mine()
        return loop.run(client.ledger_entries(limit=limit, cursor=cursor))

    def receipt_proof(self, receipt_id: str) -> ReceiptProof:
        """Return the proof that the ledger holds a receipt, verified against the pinned root key."""
        loop, client = self._mine()
        return loop.run(client.receipt_proof(receipt_id))

    def _run_queue(self, work: Callable[[AsyncQueueCalls], Coroutine[Any, Any, T]]) -> T:
        loop, client = self._mine()
        return loop.run(work(client))

    def _mine(self) -> tuple[LoopThread, AsyncInferenceClient]:
        """Return loop and client; after a fork, new ones."""
        if self._pid != os.getpid():
            _left_to_the_parent.append(self._client)
            self._attach(self._config, self._around)
        return shared_loop(), self._client


def _close_all() -> None:
    for client in list(_open_clients):
        with contextlib.suppress(Exception):
            client.close()


atexit.register(_close_all)
