"""Speech jobs: an audio file in, segments out as they are decoded, billed by milliseconds of audio."""

from gpunode_engines.base import Engine
from gpunode_engines.media import SPEECH_BASE_S, SpeechRequest
from gpunode_protocol.digests import salted_digest
from gpunode_protocol.outputs import OutputLog
from gpunode_protocol.payloads import MILLION, SpeechParams, Usage
from gpunode_protocol.requests import JobRequest

from gpunode_node.work import JobOrder, Prepared

_MS_PER_S = 1_000


class SpeechWork:
    """Implements ``Work``."""

    def __init__(self, request: JobRequest, params: SpeechParams) -> None:
        self.params = params
        self._request = request

    async def prepare(self, engine: Engine) -> Prepared:
        """See ``Work``."""
        await engine.prepare(self.order(JobOrder(job_key="prepare", deadline_s=SPEECH_BASE_S, inputs={})))
        digest = salted_digest(self._request.salt, "prompt", self.params.initial_prompt.encode())
        return Prepared(input_tokens=0, input_units=0, digest=digest)

    def order(self, order: JobOrder) -> SpeechRequest:
        """See ``Work``."""
        params = self.params
        return SpeechRequest(
            job_key=order.job_key,
            mode=params.mode,
            audio=order.inputs.get(params.audio.id, b""),
            start_ms=params.start_ms,
            max_audio_ms=params.max_audio_ms,
            language=params.language,
            word_timestamps=params.word_timestamps,
            vad=params.vad,
            initial_prompt=params.initial_prompt,
            temperature=params.temperature_millionths / MILLION,
            deadline_s=order.deadline_s,
        )

    def time_limit_s(self, text_limit_s: float) -> float:  # noqa: ARG002 -- has a limit of its own
        """See ``Work``: for the longest audio that is paid for; the engine shortens it once the file is decoded."""
        return SPEECH_BASE_S + self.params.max_audio_ms / _MS_PER_S

    def usage(self, prepared: Prepared, output: OutputLog) -> Usage:  # noqa: ARG002 -- only output is billed
        """See ``Work``."""
        return Usage(audio_ms=output.count)
