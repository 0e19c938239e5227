"""The demo's picture: a handwritten digit, drawn by the model that comes with gpunode."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer
from gpunode_protocol.tasks import Task

from gpunode.demo.demo_task import DemoAnswer, DemoWish, refuse_options, require_package

if TYPE_CHECKING:
    from gpunode.client import InferenceClient

DEFAULT_PROMPT: Final = "a handwritten seven"
DEFAULT_MODEL: Final = "digits-diffusion"
DEFAULT_OUT: Final = Path("demo.png")
_SEED: Final = 1


class ImageTask:
    """Implements ``DemoTask``."""

    task = Task.IMAGE_GEN
    model = DEFAULT_MODEL

    def check(self, wish: DemoWish) -> None:
        """See ``DemoTask``."""
        refuse_options(wish, self.task, "file")
        from gpunode.cli_image import check_picture_out  # noqa: PLC0415 -- --help stays light

        check_picture_out(wish.out or DEFAULT_OUT)
        require_package("diffusers", wish.model, "'gpunode[diffusers]'")

    def ask(self, client: "InferenceClient", wish: DemoWish) -> DemoAnswer | None:
        """See ``DemoTask``."""
        from gpunode.cli_image import draw  # noqa: PLC0415 -- as above

        prompt = wish.prompt or DEFAULT_PROMPT
        if not wish.as_json:
            typer.secho(f"> {prompt}", bold=True)
        options = {"model": wish.model, "seed": _SEED}
        result, (path,) = draw(client, prompt, wish.out or DEFAULT_OUT, options, show=not wish.as_json)
        size = len(result.images[0].data)
        return DemoAnswer(
            result,
            {"answer": None, "output": str(path.absolute()), "tokens": None, "tokens_per_s": None},
            {"picture": f"{path.absolute()}, {size:,} bytes", "time": f"{result.duration_ms / 1000:.1f} s"},
        )
