"""Embedding jobs: texts in, one blob of vectors out, input billed by tokens."""

from gpunode_engines.base import Engine
from gpunode_engines.media import EmbeddingRequest
from gpunode_protocol.digests import salted_digest
from gpunode_protocol.outputs import OutputLog
from gpunode_protocol.payloads import EmbeddingParams, Usage
from gpunode_protocol.requests import JobRequest

from gpunode_node.work import JobOrder, Prepared


class EmbeddingWork:
    """Implements ``Work``."""

    def __init__(self, request: JobRequest, params: EmbeddingParams) -> None:
        self.params = params
        self._request = request

    async def prepare(self, engine: Engine) -> Prepared:
        """See ``Work``."""
        prompt = await engine.prepare(self._engine_request("", None))
        tokens = len(prompt.token_ids)
        digest = salted_digest(self._request.salt, "prompt", "\0".join(self.params.inputs).encode())
        return Prepared(input_tokens=tokens, input_units=tokens, digest=digest)

    def order(self, order: JobOrder) -> EmbeddingRequest:
        """See ``Work``."""
        return self._engine_request(order.job_key, order.deadline_s)

    def time_limit_s(self, text_limit_s: float) -> float:
        """See ``Work``: that of text."""
        return text_limit_s

    def usage(self, prepared: Prepared, output: OutputLog) -> Usage:  # noqa: ARG002 -- only input is billed
        """See ``Work``."""
        return Usage(input_tokens=prepared.input_tokens)

    def _engine_request(self, job_key: str, deadline_s: float | None) -> EmbeddingRequest:
        params = self.params
        return EmbeddingRequest(
            job_key=job_key, inputs=params.inputs, normalize=params.normalize, deadline_s=deadline_s
        )
