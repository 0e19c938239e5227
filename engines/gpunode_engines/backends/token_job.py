"""One job of a backend that is given tokens one by one: from token ids to events, and when to end."""

import threading
from collections.abc import Collection

from torch import Tensor

from gpunode_engines.backends import Emit
from gpunode_engines.backends.token_choice import TokenChooser
from gpunode_engines.base import Finished, FinishReason, GenerateRequest, Progress, TokenLogprob, Tokens
from gpunode_engines.text_assembly import TextAssembler
from gpunode_engines.vocabulary import Vocabulary


class TokenJob:
    """Belongs to the thread that runs the model, but for ``wait`` and ``conclude``; ends exactly once.

    end_ids: tokens with which the model ends an answer; they are not delivered.
    """

    def __init__(
        self,
        request: GenerateRequest,
        vocabulary: Vocabulary,
        end_ids: Collection[int],
        emit: Emit,
        cancelled: threading.Event,
    ) -> None:
        self.request = request
        self._vocabulary = vocabulary
        self._end_ids = end_ids
        self._emit = emit
        self._cancelled = cancelled
        self._chooser = TokenChooser(request, end_ids)
        self._text = TextAssembler(request.stop)
        self._ids = 0
        self._ended = threading.Event()
        self._finished: Finished | None = None
        self._failure: Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more is wanted."""
        return self._ended.is_set()

    def replay(self) -> None:
        """Go through the tokens that the client has; that may end the job. Raises ResumeRefused."""
        if not self.request.resume_ids:
            return
        pieces = (self._vocabulary.piece(token_id) for token_id in self.request.resume_ids)
        if text := self._text.replay(pieces, self.request.text_offset):
            self._emit(Tokens(ids=(), text=text))
        if self._text.stopped:
            self._finish("stop")

    def progress(self, step: int, total: int) -> None:
        """Report how many of the prompt's tokens are done."""
        self._emit(Progress(step=step, total=total))

    def advance(self, logits: Tensor) -> int:
        """Choose the next token (logits: shape (vocabulary,), overwritten), report it, and return it."""
        choice = self._chooser.choose(logits)
        if choice.token_id in self._end_ids:
            self._finish("stop")
        else:
            self._report(choice.token_id, choice.logprob)
        return choice.token_id

    def end_if_cancelled(self) -> bool:
        """End a job that the client does not want any more; returns whether it has ended."""
        if self._cancelled.is_set() and not self.ended:
            self._finish("cancelled")
        return self.ended

    def fail(self, error: Exception) -> None:
        """End with an error, unless it has ended."""
        if not self.ended:
            self._failure = error
            self._ended.set()

    def wait(self) -> None:
        """Block until the job has ended. Raises what it failed with."""
        self._ended.wait()
        if self._failure is not None:
            raise self._failure

    def conclude(self) -> None:
        """Tell of the end of a job that has not failed; once, when whatever was held for it is free.

        Whoever hears of it may send the next job at once, which shall find its row and what that has cached.
        """
        if self._finished is None:
            raise RuntimeError("The job has not ended well.")
        self._emit(self._finished)

    def _report(self, token_id: int, logprob: TokenLogprob | None) -> None:
        self._ids += 1
        text = self._text.push(self._vocabulary.piece(token_id))
        self._emit(Tokens(ids=(token_id,), text=text, logprobs=None if logprob is None else (logprob,)))
        if self._text.stopped:
            self._finish("stop")
        elif self._ids >= self.request.max_tokens:
            self._finish("length")

    def _finish(self, reason: FinishReason) -> None:
        if not self._text.stopped and reason != "cancelled" and (rest := self._text.finish()):
            self._emit(Tokens(ids=(), text=rest))
        self._finished = Finished(reason=reason, prompt_tokens=len(self.request.prompt_ids), output_tokens=self._ids)
        self._ended.set()
