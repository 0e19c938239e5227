"""The client for asyncio: the one implementation."""

import asyncio
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypedDict, Unpack, overload

from gpunode_protocol.blobs import Blob
from gpunode_protocol.client_job import JobEvent
from gpunode_protocol.ledger_proofs import ReceiptProof, verify_receipt_proof
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import BalanceReply, EntriesReply

from gpunode._arguments import node_info, to_region, to_size, to_task
from gpunode._chat import ChatOptions, llm_params
from gpunode._embeddings import embedding_params, read_vectors
from gpunode._image_defaults import image_defaults
from gpunode._images import ImageOptions, Pictures, drawing_of
from gpunode._job_queue import JobQueue
from gpunode._job_requests import new_salt
from gpunode._job_result import WholeJobs
from gpunode._job_wish import JobWish
from gpunode._open_calls import OpenCalls
from gpunode._placing import Demand
from gpunode._queue_calls import AsyncQueueCalls
from gpunode._selection import Wanted
from gpunode._session import Session
from gpunode._speech import AudioSource, SpeechOptions, Transcription, speech_of
from gpunode._surroundings import Surroundings
from gpunode.config import ClientConfig
from gpunode.errors import ClientError
from gpunode.regions import NetworkRegions
from gpunode.routing import Limits, RouteExplanation
from gpunode.streaming import AsyncChatStream
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


class ClientSettings(TypedDict, total=False):
    """Settings beside tracker and API key; each is explained in ``ClientConfig``."""

    api_key_file: Path | None
    ca_file: Path | None
    insecure: bool | None
    state_dir: Path | None
    region: Region | str | None
    network_id: str | None
    job_timeout_s: float | None
    max_attempts: int | None
    grant_microcredits: int | None
    allow_nodes: Sequence[str] | None
    deny_nodes: Sequence[str] | None
    own_nodes: bool | None
    max_price_credits: float | None
    min_sandbox: int | None
    fingerprint: str | None
    widen: bool | None
    exclude_doubtful_places: bool | None


def load_config(tracker: str | None, api_key: str | None, settings: ClientSettings) -> ClientConfig:
    """Return the configuration of a client from its arguments; see ``ClientConfig.load``."""
    return ClientConfig.load({"tracker": tracker, "api_key": api_key, **settings})


class AsyncInferenceClient(AsyncQueueCalls):
    """A client of one network. It belongs to the event loop that uses it first.

    ::

        async with AsyncInferenceClient("https://tracker.example", api_key="…") as client:
            answer = await client.chat(messages=[{"role": "user", "content": "Hello!"}])

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
        self._attach(load_config(tracker, api_key, settings), Surroundings())

    @classmethod
    def from_config(cls, config: ClientConfig, surroundings: Surroundings | None = None) -> Self:
        """Return the client of a configuration; ``surroundings`` are for tests."""
        client = cls.__new__(cls)
        client._attach(config, surroundings or Surroundings())  # noqa: SLF001 -- another constructor
        return client

    def _attach(self, config: ClientConfig, surroundings: Surroundings) -> None:
        self._tracker = surroundings.create_tracker(config)
        self._session = Session(config, surroundings, self._tracker)
        self._calls = OpenCalls()
        self._jobs = WholeJobs(self._session.start_job, self._calls, monotonic=surroundings.monotonic)
        self._queue = JobQueue(self._tracker)
        self._around = surroundings
        self._streams: weakref.WeakSet[AsyncChatStream] = weakref.WeakSet()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Cancel what runs, hand in what is owed, leave the mesh. May be called twice.

        Streams end; whoever waits for another call gets ``ClientClosed``.
        """
        self._session.shut()
        await self._calls.close()
        for stream in list(self._streams):
            await stream.close()
        await self._session.close()

    async def connect(self) -> None:
        """Join the mesh now, which the first call would do otherwise.

        Raises:
            ClientError: the network cannot be reached.
        """
        self._check_loop()
        async with self._calls.one():
            await self._session.ready()

    @overload
    async def chat(
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
    async def chat(
        self,
        *,
        messages: Sequence[Message],
        model: str | None = None,
        region: Region | str | None = None,
        limits: Limits | None = None,
        stream: Literal[True],
        **options: Unpack[ChatOptions],
    ) -> AsyncChatStream: ...

    async def chat(
        self,
        *,
        messages: Sequence[Message],
        model: str | None = None,
        region: Region | str | None = None,
        limits: Limits | None = None,
        stream: bool = False,
        **options: Unpack[ChatOptions],
    ) -> ChatResult | AsyncChatStream:
        """Answer a conversation.

        Args:
            messages: oldest first, at least one.
            model: as nodes advertise it, such as ``qwen2.5-7b-instruct`` or ``qwen2.5-7b``; the network's default
                when not given.
            region: only nodes there; otherwise anywhere, nearest first.
            limits: what the node must fulfil; the client's settings when not given.
            stream: return the answer piece by piece.
            options: see ``ChatOptions``.

        Returns:
            The verified answer, or with ``stream=True`` an iterator of its pieces.

        Raises:
            InvalidRequest: an argument is not valid; nothing was sent.
            NoNodeFound: nobody could answer.
            RequestRefused: for instance, the prompt is longer than the model's context.
            AnswerInterrupted: the answer broke off; the exception has what came.
            VerificationFailed: the node's receipt contradicts the answer; the node was reported.
            ClientError: no connection to the network, or no grant (API key, credits).
        """
        self._check_loop()
        params = llm_params(messages, options, now=self._around.clock())
        wish = JobWish(Task.LLM, params, model, to_region(region), limits)
        chunks = AsyncChatStream(
            lambda: self._session.start_job(wish), monotonic=self._around.monotonic, is_shown=stream
        )
        self._streams.add(chunks)
        if stream:
            return chunks
        async with self._calls.one(), chunks:
            async for _ in chunks:
                pass
            return chunks.result

    async def embed(
        self,
        inputs: str | Sequence[str],
        *,
        model: str | None = None,
        region: Region | str | None = None,
        limits: Limits | None = None,
        normalize: bool = True,
    ) -> EmbeddingResult:
        """Return one vector for each text.

        Args:
            inputs: one text or several, at most 2,048.
            model, region, limits: as in ``chat``.
            normalize: make all vectors one long.

        Raises:
            InvalidRequest, NoNodeFound, RequestRefused, AnswerInterrupted, VerificationFailed, ClientError: as in
                ``chat``.
        """
        self._check_loop()
        params = embedding_params(inputs, normalize=normalize)
        wish = JobWish(Task.EMBEDDING, params, model, to_region(region), limits)
        newest: Blob | None = None

        def take(event: JobEvent) -> None:
            nonlocal newest
            if isinstance(event, Blob):
                newest = event  # that of a node which failed then has no receipt, and the next one began anew

        done, facts = await self._jobs.run(wish, take)
        vectors = read_vectors(newest, len(params.inputs))
        return EmbeddingResult(vectors=vectors, tokens=done.usage.input_tokens, **facts)

    async def transcribe(
        self,
        audio: AudioSource,
        *,
        model: str | None = None,
        region: Region | str | None = None,
        limits: Limits | None = None,
        on_segment: Callable[[SpokenSegment], None] | None = None,
        **options: Unpack[SpeechOptions],
    ) -> TranscriptResult:
        """Write down what is said in an audio file.

        Args:
            audio: a path, the bytes of a file, or an open binary file; wav, mp3, flac, ogg, m4a or webm.
            model, region, limits: as in ``chat``.
            on_segment: called with each piece as soon as it is decoded, on the client's event loop.
            options: see ``SpeechOptions``.

        Raises:
            InvalidRequest, NoNodeFound, RequestRefused, AnswerInterrupted, VerificationFailed, ClientError: as in
                ``chat``.
        """
        self._check_loop()
        salt = new_salt()
        speech = await asyncio.to_thread(speech_of, audio, options, salt=salt)
        wish = JobWish(Task.WHISPER, speech.params, model, to_region(region), limits, inputs=(speech.audio,), salt=salt)
        transcript = Transcription(on_segment)
        _, facts = await self._jobs.run(wish, transcript.take)
        return transcript.result(facts)

    async def generate_image(
        self,
        prompt: str,
        *,
        model: str | None = None,
        region: Region | str | None = None,
        limits: Limits | None = None,
        on_progress: Callable[[ImageProgress], None] | None = None,
        **options: Unpack[ImageOptions],
    ) -> ImageResult:
        """Draw pictures.

        Args:
            prompt: what to draw.
            model, region, limits: as in ``chat``.
            on_progress: called at each step, on the client's event loop.
            options: see ``ImageOptions``.

        Raises:
            InvalidRequest, NoNodeFound, RequestRefused, AnswerInterrupted, VerificationFailed, ClientError: as in
                ``chat``. Until the first picture is there, a job that fails is begun anew at another node.
        """
        self._check_loop()
        wanted = to_region(region)
        if model is None:
            model = (await self._session.network()).info.default_models.get(Task.IMAGE_GEN)
        salt = new_salt()
        drawing = await asyncio.to_thread(drawing_of, prompt, options, image_defaults(model), salt=salt)
        wish = JobWish(Task.IMAGE_GEN, drawing.params, model, wanted, limits, inputs=drawing.inputs, salt=salt)
        pictures = Pictures(drawing, on_progress)
        done, facts = await self._jobs.run(wish, pictures.take)
        return pictures.result(done, facts)

    async def nodes(
        self, *, model: str | None = None, task: Task | str = Task.LLM, region: Region | str | None = None
    ) -> list[NodeInfo]:
        """Return live nodes, best first, from the DHT and the tracker's index; needs no API key."""
        self._check_loop()
        wanted = Wanted(to_task(task), model, to_region(region))
        async with self._calls.one():
            choices = await self._session.nodes(wanted)
            doubtful = (await self._session.network()).info.doubtful_places
        return [node_info(choice, doubtful) for choice in choices]

    async def regions(self) -> NetworkRegions:
        """Return live nodes and models by region, distances, and where this client is; needs no API key.

        Raises:
            TrackerUnreachable, TrackerError: the tracker does not answer, or is too old to tell.
        """
        return await self._session.regions()

    async def explain(
        self,
        *,
        model: str | None = None,
        task: Task | str = Task.LLM,
        region: Region | str | None = None,
        limits: Limits | None = None,
        input_units: int | None = None,
        output_units: int | None = None,
    ) -> RouteExplanation:
        """Return how a job would be routed now: every candidate's expected time term by term, and why it lost.

        Nothing is sent but probes. Needs an API key only for ``own_nodes``.

        Args:
            task, model, region, limits: as in the job's own method.
            input_units, output_units: what the job takes: tokens of text, image units (1,024 pixel-steps), ms of audio;
                256 and 256 unless given.

        Raises:
            InvalidRequest, NoNodeFound, ClientError: as in ``chat``.
        """
        self._check_loop()
        demand = Demand(to_task(task), model, to_region(region), limits)
        async with self._calls.one():
            return await self._session.explain(demand, to_size(input_units, output_units))

    async def balance(self) -> BalanceReply:
        """Return the account's balance in micro-credits."""
        return await self._tracker.balance()

    async def node_balance(self, node: str) -> BalanceReply:
        """Return what a node has earned, in micro-credits."""
        return await self._tracker.node_balance(node)

    async def ledger_entries(self, *, limit: int = 20, cursor: str | None = None) -> EntriesReply:
        """Return the account's ledger entries, newest first; cursor: of the page before."""
        return await self._tracker.entries(limit=limit, cursor=cursor)

    async def receipt_proof(self, receipt_id: str) -> ReceiptProof:
        """Return the proof that the ledger holds a receipt, verified against the pinned root key.

        Raises:
            TrackerError: status 404: the ledger does not have it, or not yet (heads are signed within 60 s).
            VerificationFailed, Untrusted: the tracker's proof does not verify.
        """
        network = await self._session.network()
        proof = await self._tracker.receipt_proof(receipt_id)
        verified = verify_receipt_proof(proof, network.trust.root_public_key)
        if verified.receipt.digest.hex() != receipt_id:
            raise ClientError(f"The tracker sent the proof of another receipt than {receipt_id}.")
        return proof

    async def root_public_key(self) -> bytes:
        """Return the network's pinned root key, 32 bytes."""
        return (await self._session.network()).trust.root_public_key

    def _job_queue(self) -> JobQueue:
        self._check_loop()
        return self._queue

    def _check_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise ClientError(
                "This AsyncInferenceClient belongs to another event loop. Make one client for each loop, or use "
                "InferenceClient, which has its own."
            )
