"""Counting a segment's output."""

import pytest
from gpunode_protocol.digests import Transcript, salted_digest
from gpunode_protocol.errors import UnexpectedMessage, VerificationFailed
from gpunode_protocol.outputs import OutputLog, blob_digest

from tests.protocol.samples import SALT, chat_params, embedding_params, image_params, speech_params

DIGEST = b"\x01" * 32


def test_tokens_are_counted() -> None:
    """Ids count, texts do not."""
    log = OutputLog(SALT, chat_params())
    log.add_tokens([1, 2], "ab")
    log.add_tokens([], "c")
    assert (log.count, log.tokens, log.images) == (2, 2, 0)


def test_digest_is_the_transcripts() -> None:
    """The log's digest is that of a transcript of the same output."""
    log, transcript = OutputLog(SALT, chat_params()), Transcript(SALT)
    log.add_tokens([1, 2], "ab")
    transcript.add_tokens([1, 2], "ab")
    assert log.digest() == transcript.digest()


def test_no_more_tokens_than_asked_for() -> None:
    """The token after max_tokens is refused, and nothing of its frame is counted."""
    log = OutputLog(SALT, chat_params(max_tokens=4))
    log.add_tokens([1, 2, 3], "")
    before = log.digest()
    with pytest.raises(VerificationFailed, match="more than the 4 tokens") as caught:
        log.add_tokens([4, 5], "")
    assert caught.value.fault == "bad_output"
    assert (log.count, log.digest()) == (3, before)
    log.add_tokens([4], "")


def test_segments_count_audio_up_to_their_end() -> None:
    """The latest end counts, whatever order segments come in."""
    log = OutputLog(SALT, speech_params())
    for start_ms, end_ms in [(0, 4_000), (4_000, 9_500), (5_000, 6_000)]:
        log.add_segment(start_ms, end_ms, "text")
    assert (log.count, log.tokens) == (9_500, 0)


def test_resumed_audio_counts_from_its_start() -> None:
    """A resumed job bills what it decoded itself, not what an earlier segment was paid for."""
    log = OutputLog(SALT, speech_params(start_ms=600_000, max_audio_ms=60_000))
    log.add_segment(590_000, 599_000, "before the start")
    assert log.count == 0
    log.add_segment(600_000, 605_000, "text")
    assert log.count == 5_000


def test_no_more_audio_than_asked_for() -> None:
    """A segment that ends after max_audio_ms counts up to there."""
    log = OutputLog(SALT, speech_params(max_audio_ms=60_000))
    log.add_segment(58_000, 2**62, "text")
    assert log.count == 60_000


def test_pictures_count_their_units() -> None:
    """Each picture counts as many units as its request says."""
    log = OutputLog(SALT, image_params())
    log.add_blob(0, DIGEST, 64)
    log.add_blob(1, DIGEST, 64)
    assert (log.count, log.images) == (128, 2)


@pytest.mark.parametrize("units", [0, 63, 65, 10**18])
def test_pictures_have_their_size(units: int) -> None:
    """A picture that states other units than the request's is refused."""
    with pytest.raises(VerificationFailed):
        OutputLog(SALT, image_params()).add_blob(0, DIGEST, units)


def test_no_more_pictures_than_asked_for() -> None:
    """The picture after the last is refused."""
    log = OutputLog(SALT, image_params(n=1))
    log.add_blob(0, DIGEST, 64)
    with pytest.raises(VerificationFailed):
        log.check_blob(64)
    with pytest.raises(VerificationFailed):
        log.add_blob(1, DIGEST, 64)


def test_embeddings_are_one_blob_without_units() -> None:
    """The result of an embedding job is one blob, which costs no output."""
    log = OutputLog(SALT, embedding_params())
    with pytest.raises(VerificationFailed):
        log.add_blob(0, DIGEST, 1)
    log.add_blob(0, DIGEST, 0)
    assert log.count == 0
    with pytest.raises(VerificationFailed):
        log.add_blob(1, DIGEST, 0)


def test_every_task_has_its_own_output() -> None:
    """Output of another task is refused: tokens are no image units."""
    for params in (speech_params(), image_params(), embedding_params()):
        with pytest.raises(UnexpectedMessage):
            OutputLog(SALT, params).add_tokens([1], "")
    for other in (chat_params(), image_params(), embedding_params()):
        with pytest.raises(UnexpectedMessage):
            OutputLog(SALT, other).add_segment(0, 1, "")
    for none in (chat_params(), speech_params()):
        with pytest.raises(UnexpectedMessage):
            OutputLog(SALT, none).add_blob(0, DIGEST, 0)


def test_blob_digest_is_salted() -> None:
    """A blob's digest depends on the job's salt."""
    assert blob_digest(SALT, b"data") == salted_digest(SALT, "blob", b"data")
    assert blob_digest(b"\0" * 32, b"data") != blob_digest(SALT, b"data")


def test_work_counts_unfinished_pictures() -> None:
    """Progress counts as work, over the whole job, but is never paid."""
    log = OutputLog(SALT, image_params())
    log.add_progress(8, 32)
    assert (log.work, log.count) == (32, 0)
    log.add_blob(0, DIGEST, 64)
    assert (log.work, log.count) == (64, 64)
    log.add_progress(4, 32)
    assert log.work == 64
    log.add_progress(99, 32)
    assert log.work == 128


def test_a_chat_has_no_progress() -> None:
    """Progress would count as a sign of life that a chat does not have."""
    with pytest.raises(UnexpectedMessage):
        OutputLog(SALT, chat_params()).add_progress(1, 2)
