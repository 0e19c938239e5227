"""A node that answers as a test says: the protocol's own machines, no engine."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gpunode_protocol.blobs import Blob, blob_frames
from gpunode_protocol.digests import salted_digest
from gpunode_protocol.errors import ErrorCode, JobError, job_error
from gpunode_protocol.grants import Grant
from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.messages import (
    PING_INTERVAL_S,
    AcceptedFrame,
    BlobFrame,
    CancelFrame,
    ErrorFrame,
    ProbeReplyFrame,
    RequestFrame,
    SegmentFrame,
    SettledFrame,
    TokenLogprob,
    VoucherFrame,
    encode_frame,
)
from gpunode_protocol.node_job import NodeJob
from gpunode_protocol.node_stream import NodeStream, RequestChecks, open_request
from gpunode_protocol.payloads import EmbeddingParams, ImageParams, LlmParams, SpeechParams, Usage
from gpunode_protocol.probe import ProbeServer
from gpunode_protocol.trust import Trust

from tests.sdk.memory_mesh import MemoryStream

PROMPT_TOKENS = 7
FINGERPRINT = b"f" * 32


@dataclass
class ScriptedNode:
    """What it does.

    words: the answer, a token each. pictures: the results of image jobs, in two steps each. segments: of speech.
    vectors: of embedding jobs. cut_after: the stream ends after so many tokens, pictures, segments or vectors' blobs.
    refuse: errors for the next requests, in turn. overstate: tokens that the receipt claims too many. endless:
    repeats the words until cancelled. prompt: what its template makes of the messages. silent: accepts nothing and
    says nothing. mute_after: says nothing more after so many tokens, and keeps the stream; with ``pings`` it goes on
    to send those. position: of jobs in its queue, as it says when it accepts them. cut_with: the error that comes
    instead of the stream's end. drains_after: says after so many tokens that it is about to stop. sign_receipts_as:
    another key than its own. misquotes: its receipt is for another output. finish_reason: of a whole answer.
    first_token_s (and of speech, the first segment), token_s: what tokens take. probe_s: what the answer to a probe
    takes. dies_unsettled: its stream ends after ``done``, before it reads the final voucher. max_streams: for jobs, of
    anybody; most_streams: that were open at once. garble: makes of each frame of a job what is sent instead.
    """

    identity: Identity
    trust: Trust
    clock: Callable[[], float] = time.time
    words: Sequence[str] = ("Paris", " is", " the", " capital.")
    pictures: Sequence[bytes] = ()
    segments: Sequence[SegmentFrame] = ()
    vectors: bytes = b""
    cut_after: int | None = None
    refuse: list[JobError] = field(default_factory=list)
    overstate: int = 0
    endless: bool = False
    fingerprint: bytes = FINGERPRINT
    prompt: bytes = b"prompt"
    hesitates_s: float = 0.0
    silent: bool = False
    mute_after: int | None = None
    pings: bool = False
    position: int = 0
    cut_with: JobError | None = None
    drains_after: int | None = None
    probe_s: float = 0.0
    sign_receipts_as: Identity | None = None
    misquotes: bool = False
    quote: int = PROMPT_TOKENS
    spoils_blobs: bool = False
    finish_reason: str = "stop"
    first_token_s: float = 0.0
    token_s: float = 0.0
    active: int = 0
    queued: int = 0
    draining: bool = False
    jobs: list[NodeJob] = field(default_factory=list)
    dies_unsettled: bool = False
    max_streams: int = 1_000
    streams: int = 0
    most_streams: int = 0
    garble: Callable[[bytes], bytes] = lambda frame: frame
    requests: list[RequestFrame] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def peer_id(self) -> PeerId:
        """Its id."""
        return self.identity.peer_id

    async def serve_probe(self, stream: MemoryStream) -> None:
        """Answer probes."""
        server = ProbeServer()
        while data := await stream.read():
            for probe in server.receive_data(data):
                await asyncio.sleep(self.probe_s)
                if stream.closed:
                    return
                reply = ProbeReplyFrame(
                    nonce=probe.nonce,
                    active=self.active,
                    queued=self.queued,
                    slots=4,
                    wait_ms=0,
                    draining=self.draining,
                )
                await stream.write(encode_frame(reply))

    async def serve_job(self, stream: MemoryStream) -> None:
        """Serve one job stream to its end, unless there are too many."""
        if self.streams >= self.max_streams:
            error = job_error(ErrorCode.TOO_MANY_STREAMS, "Close one first.", retry_after_s=1.0)
            await stream.write(encode_frame(ErrorFrame.of(error)))
            return
        self.streams += 1
        self.most_streams = max(self.most_streams, self.streams)
        try:
            await _Conversation(self, stream).run()
        finally:
            self.streams -= 1


class _Conversation:
    def __init__(self, node: ScriptedNode, stream: MemoryStream) -> None:
        self._node = node
        self._stream = stream
        self._parser = NodeStream()
        self._vouched = asyncio.Event()
        self._cancelled = asyncio.Event()
        self._sent = 0
        self._uploaded = asyncio.Event()
        self._job: NodeJob

    async def run(self) -> None:
        if not (data := await self._stream.read()):
            return
        first = self._parser.receive_data(data)[0]
        assert isinstance(first, RequestFrame)
        self._node.requests.append(first)
        await asyncio.sleep(self._node.hesitates_s)
        if self._node.silent:
            while await self._stream.read():
                pass
            return
        if self._node.refuse:
            await self._stream.write(encode_frame(ErrorFrame.of(self._node.refuse.pop(0))))
            return
        self._job = self._open(first)
        self._node.jobs.append(self._job)
        self._node.asked.set()
        producer = asyncio.create_task(self._produce())
        try:
            await self._listen()
        finally:
            producer.cancel()
            await asyncio.gather(producer, return_exceptions=True)

    def _open(self, first: RequestFrame) -> NodeJob:
        node, now = self._node, self._node.clock()
        checks = RequestChecks(network=node.trust.network, node=node.peer_id, peer=self._stream.remote_peer_id, now=now)
        request = open_request(first.request, checks)
        grant: Grant = node.trust.open_grant(request.body.grant, now=now)
        return NodeJob(identity=node.identity, request=request, grant=grant, arrived_at=0.0)

    async def _listen(self) -> None:
        while data := await self._stream.read():
            for event in self._parser.receive_data(data):
                if isinstance(event, VoucherFrame):
                    self._job.receive_voucher(event.voucher)
                    self._vouched.set()
                    if self._job.is_settled:
                        await self._stream.write(encode_frame(SettledFrame()))
                        return
                elif isinstance(event, BlobFrame):
                    if event.offset + len(event.data) == event.total_bytes:
                        self._uploaded.set()
                elif isinstance(event, CancelFrame):
                    self._cancelled.set()
                    self._node.cancelled.set()

    async def _produce(self) -> None:
        node, job = self._node, self._job
        params = job.request.body.read_params()
        prompt_tokens = 0 if isinstance(params, ImageParams | SpeechParams) else node.quote
        accepted = AcceptedFrame(
            prompt_tokens=prompt_tokens,
            position=node.position,
            eta_s=0.0,
            fingerprint=node.fingerprint,
            prompt_digest=salted_digest(job.request.body.salt, "prompt", node.prompt),
        )
        resume = job.request.body.resume
        before = len(resume.ids) if resume is not None else 0
        job.accept(accepted, input_count=prompt_tokens + before)
        await self._flush()
        if isinstance(params, EmbeddingParams):
            await self._embed()
            return
        if isinstance(params, ImageParams):
            await self._draw(params)
            return
        if isinstance(params, SpeechParams):
            await self._write_down()
            return
        number = before
        while (node.endless or number < len(node.words)) and not self._cancelled.is_set():
            if number == node.drains_after:
                job.draining(deadline_s=60.0)
                await self._flush()
            if number == node.cut_after:
                await self._break_off()
                return
            if number == node.mute_after:
                await self._say_nothing()
            while not job.may_produce and not self._cancelled.is_set():
                self._vouched.clear()
                await self._vouched.wait()
            await asyncio.sleep(node.token_s if number else node.first_token_s)
            wants_logprobs = isinstance(params, LlmParams) and params.logprobs is not None
            entries = (TokenLogprob(id=number, logprob=-0.5, top=()),) if wants_logprobs else None
            job.tokens([number], node.words[number % len(node.words)], now=1.0, logprobs=entries)
            await self._flush()
            number += 1
        if node.sign_receipts_as is not None:
            job.identity = node.sign_receipts_as
        if node.misquotes:
            job.output.transcript.add_tokens([0], "never sent")
        reason = "cancelled" if self._cancelled.is_set() else node.finish_reason
        usage = Usage(input_tokens=PROMPT_TOKENS, output_tokens=number - before + node.overstate, resumed_tokens=before)
        job.finish(usage=usage, finish_reason=reason, now=2.0, finished_at=int(node.clock()))
        await self._flush()

    async def _break_off(self) -> None:
        if self._node.cut_with is None:
            await self._stream.close()
            return
        self._job.fail(self._node.cut_with)
        await self._flush()

    async def _say_nothing(self) -> None:
        while self._node.pings:
            await asyncio.sleep(PING_INTERVAL_S)
            self._job.ping()
            await self._flush()
        await asyncio.Event().wait()

    async def _draw(self, params: ImageParams) -> None:
        node, job = self._node, self._job
        for number, data in enumerate(node.pictures):
            job.progress(2 * number + 1, 2 * params.n, data[:4] if params.preview_every_steps else None)
            await self._flush()
            if number == node.cut_after:
                await self._stream.close()
                return
            job.progress(2 * number + 2, 2 * params.n)
            if node.spoils_blobs and number == len(node.pictures) - 1:
                await self._spoil(number, data, params.units_per_image())
            job.blob(Blob(number, f"image/{params.format}", data, params.units_per_image()), now=1.0)
            await self._flush()
        usage = Usage(images=len(node.pictures), image_units=len(node.pictures) * params.units_per_image())
        job.finish(usage=usage, finish_reason="stop", now=2.0, finished_at=int(node.clock()))
        await self._flush()

    async def _spoil(self, number: int, data: bytes, units: int) -> None:
        """Send a blob under another digest."""
        (piece,) = blob_frames(Blob(number, "image/png", data, units), self._job.request.body.salt)
        await self._stream.write(encode_frame(piece.model_copy(update={"digest": bytes(32)})))
        await asyncio.Event().wait()

    async def _embed(self) -> None:
        node, job = self._node, self._job
        if node.spoils_blobs:
            await self._spoil(0, node.vectors, 0)
        job.blob(Blob(0, "application/octet-stream", node.vectors), now=1.0)
        await self._flush()
        if node.cut_after is not None:
            await self._stream.close()
            return
        usage = Usage(input_tokens=PROMPT_TOKENS)
        job.finish(usage=usage, finish_reason="stop", now=2.0, finished_at=int(node.clock()))
        await self._flush()

    async def _write_down(self) -> None:
        """Take the audio whole, then say the segments."""
        node, job = self._node, self._job
        await self._uploaded.wait()
        await asyncio.sleep(node.first_token_s)
        for number, segment in enumerate(node.segments):
            if number == node.cut_after:
                await self._stream.close()
                return
            job.segment(segment, now=1.0)
            await self._flush()
        job.finish(
            usage=Usage(audio_ms=job.output.count),
            finish_reason="stop",
            now=2.0,
            finished_at=int(node.clock()),
        )
        await self._flush()

    async def _flush(self) -> None:
        while self._sent < len(self._job.frames):
            self._sent += 1
            await self._stream.write(self._node.garble(self._job.frames[self._sent - 1]))
        if self._node.dies_unsettled and self._job.is_over:
            await self._stream.close()
