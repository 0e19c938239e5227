"""Image jobs: a prompt and perhaps pictures in, pictures out, billed by pixel-steps."""

from gpunode_engines.base import Engine
from gpunode_engines.media import ImageRequest
from gpunode_protocol.digests import salted_digest
from gpunode_protocol.outputs import OutputLog
from gpunode_protocol.payloads import MILLION, ImageParams, Usage
from gpunode_protocol.requests import JobRequest

from gpunode_node.work import JobOrder, Prepared

MIN_TIME_LIMIT_S = 150.0
_BASE_S = 30.0
_STEP_S = 2.0
_STEP_PIXELS = 512 * 512
"""AI Horde's lifetime of an image job: 30 s + 2 s a step of 512 x 512 pixels, at least 150 s."""


class ImageWork:
    """Implements ``Work``."""

    def __init__(self, request: JobRequest, params: ImageParams) -> None:
        self.params = params
        self._request = request

    async def prepare(self, engine: Engine) -> Prepared:
        """See ``Work``."""
        await engine.prepare(self.order(JobOrder(job_key="prepare", deadline_s=MIN_TIME_LIMIT_S, inputs={})))
        rendered = f"{self.params.prompt}\0{self.params.negative_prompt}".encode()
        return Prepared(input_tokens=0, input_units=0, digest=salted_digest(self._request.salt, "prompt", rendered))

    def order(self, order: JobOrder) -> ImageRequest:
        """See ``Work``."""
        params = self.params
        return ImageRequest(
            job_key=order.job_key,
            mode=params.mode,
            prompt=params.prompt,
            negative_prompt=params.negative_prompt,
            width=params.width,
            height=params.height,
            steps=params.steps,
            guidance=params.guidance_millionths / MILLION,
            strength=params.strength_millionths / MILLION,
            seed=params.seed,
            n=params.n,
            format=params.format,
            preview_every_steps=params.preview_every_steps,
            image=order.inputs.get(params.image.id, b"") if params.image else b"",
            mask=order.inputs.get(params.mask.id, b"") if params.mask else b"",
            deadline_s=order.deadline_s,
        )

    def time_limit_s(self, text_limit_s: float) -> float:  # noqa: ARG002 -- has a limit of its own
        """See ``Work``."""
        params = self.params
        steps = params.n * params.steps
        return max(MIN_TIME_LIMIT_S, _BASE_S + _STEP_S * steps * params.width * params.height / _STEP_PIXELS)

    def usage(self, prepared: Prepared, output: OutputLog) -> Usage:  # noqa: ARG002 -- only output is billed
        """See ``Work``."""
        return Usage(images=output.images, image_units=output.count)
