"""What has come of an answer, over all nodes that gave a part of it, and what the next one is asked for. Pure."""

from dataclasses import replace
from typing import Final

from gpunode_protocol.blobs import Blob
from gpunode_protocol.client_job import JobEvent
from gpunode_protocol.messages import AcceptedFrame, SegmentFrame, TokensFrame
from gpunode_protocol.payloads import EmbeddingParams, ImageParams, LlmParams, SpeechParams
from gpunode_protocol.requests import MAX_RESUME_IDS, Resume
from gpunode_protocol.signing import Signed
from gpunode_protocol.tasks import Task
from gpunode_protocol.vouchers import Voucher

from gpunode._job_requests import Job, Order
from gpunode._request_size import fits
from gpunode._seen_prefix import CannotGoOn, SeenPrefix
from gpunode.types import RouteSegment

_SEEDS: Final = 2**32


class Answer:
    """An answer as it grows; what it holds was shown to the caller.

    Args:
        job: what was asked for.

    ``is_shown``: the caller sees it grow. If not, one that is begun anew may be another, and takes its place.
    ``has_grown``: the last part brought something that no earlier one had.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.text_parts: list[str] = []
        self.ids: list[int] = []
        self.blobs: list[Blob] = []
        self.parts: list[RouteSegment] = []
        self._spoken_until_ms = job.params.start_ms if isinstance(job.params, SpeechParams) else 0
        self._language: str | None = None
        self._order = Order(job.params, fingerprint=job.fingerprint)
        self._accepted: AcceptedFrame | None = None
        self.is_shown = True
        self.has_grown = False
        self._most_ids = 0
        self._seen: SeenPrefix | None = None
        self._is_outdated = False

    @property
    def has_begun(self) -> bool:
        """Whether the caller has got something that another answer might contradict."""
        return bool(self.ids or self.text_parts or self.blobs or self._language is not None)

    @property
    def fingerprint(self) -> bytes | None:
        """The weights that the rest must come from, None = any."""
        return self._order.fingerprint

    @property
    def prompt_tokens(self) -> int | None:
        """As counted by the node that began, whose weights the rest must come from; None = there is no beginning."""
        return self._accepted.prompt_tokens if self.has_begun and self._accepted is not None else None

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.text_parts)

    def take(self, event: JobEvent) -> JobEvent | None:
        """Note an event and return what of it is new to the caller, None if nothing.

        Raises:
            CannotGoOn: an answer that was begun anew is another one than before.
        """
        match event:
            case TokensFrame():
                self._clear_outdated()
                event = event if self._seen is None else self._seen.cut(event)
                if not event.ids and not event.text:
                    return None
                self.text_parts.append(event.text)
                self.ids.extend(event.ids)
            case SegmentFrame():
                self._spoken_until_ms = max(self._spoken_until_ms, event.end_ms)
                self._language = event.language or self._language or ""
            case Blob():
                self.blobs.append(event)
            case AcceptedFrame():
                self._accepted = event
        return event

    def end(self) -> None:
        """See that an answer that was begun anew is at least as long as what the caller has. Raises CannotGoOn."""
        self._clear_outdated()
        if self._seen is not None:
            self._seen.end()

    def _clear_outdated(self) -> None:
        if self._is_outdated:
            self._is_outdated = False
            self.text_parts.clear()
            self.ids.clear()

    def part_over(self, part: RouteSegment, voucher: Signed[Voucher] | None) -> None:
        """Note that a node gives no more. voucher: the last one that it got."""
        is_text = isinstance(self.job.params, LlmParams)
        self.has_grown = len(self.ids) > self._most_ids if is_text else part.output_units > 0
        self._most_ids = max(self._most_ids, len(self.ids))
        if part.output_units or part.ended == "done":
            self.parts.append(part)
        if voucher is not None and voucher.body.count:
            start = voucher.body.start + voucher.body.count
            self._order = replace(self._order, start=start, previous_voucher=voucher.digest)
        if self.has_begun and self._accepted is not None:
            self._order = replace(self._order, fingerprint=self._accepted.fingerprint)

    def next_order(self) -> Order:
        """Return what the next node is asked for.

        Raises:
            CannotGoOn: nothing but the node's word that this was all is missing, or what came is too long.
        """
        if not self.has_begun:
            return self._order
        match self.job.params:
            case LlmParams() as params:
                return self._rest_of_text(params)
            case ImageParams() as params:
                return replace(self._order, params=self._rest_of_pictures(params))
            case SpeechParams() as params:
                return replace(self._order, params=self._rest_of_speech(params))
            case EmbeddingParams():
                self.blobs.clear()
                return self._order

    def _rest_of_text(self, params: LlmParams) -> Order:
        if begins_anew(params) and not self.is_shown:
            self._is_outdated = True  # kept until there is something new: it is what the caller gets if nothing comes
            return self._order
        if begins_anew(params):
            self._seen = SeenPrefix(tuple(self.ids), self.text)
            return self._order
        left = params.max_tokens - len(self.ids)
        if left <= 0:
            raise CannotGoOn("All tokens came, but not the node's word that they are all.")
        if self._accepted is None or not self.ids:
            return self._order
        self._check_resumable(params)
        resume = Resume(
            ids=tuple(self.ids), text_offset=len(self.text.encode()), prompt_digest=self._accepted.prompt_digest
        )
        return replace(self._order, params=params.model_copy(update={"max_tokens": left}), resume=resume)

    def _check_resumable(self, params: LlmParams) -> None:
        tokens = len(self.ids)
        if tokens > MAX_RESUME_IDS:
            raise CannotGoOn(f"Nodes go on with answers of at most {MAX_RESUME_IDS:,} tokens, it has {tokens:,}.")
        if not fits(params, self.ids):
            raise CannotGoOn(f"Together with the prompt, its {tokens:,} tokens do not fit into a request.")

    def _rest_of_pictures(self, params: ImageParams) -> ImageParams:
        """Picture k of n uses seed + k: the others come out as they would have."""
        drawn = len(self.blobs)
        if drawn >= params.n:
            raise CannotGoOn("All pictures came, but not the node's word that they are all.")
        seed = None if params.seed is None else (params.seed + drawn) % _SEEDS
        return params.model_copy(update={"n": params.n - drawn, "seed": seed})

    def _rest_of_speech(self, params: SpeechParams) -> SpeechParams:
        left_ms = params.max_audio_ms - (self._spoken_until_ms - params.start_ms)
        if left_ms <= 0:
            raise CannotGoOn("All segments came, but not the node's word that they are all.")
        changes = {"start_ms": self._spoken_until_ms, "max_audio_ms": left_ms}
        return params.model_copy(update=changes | ({"language": self._language} if self._language else {}))

    def so_far(self) -> str:
        """Return how much there is, in words."""
        match self.job.task:
            case Task.LLM:
                return f"{len(self.ids)} tokens"
            case Task.IMAGE_GEN:
                return f"{len(self.blobs)} pictures"
            case _:
                return "its beginning"


def begins_anew(params: LlmParams) -> bool:
    """Whether the next node must say everything again: an engine keeps track of calls, schemas and logprobs itself."""
    return params.tools is not None or params.json_schema is not None or params.logprobs is not None
