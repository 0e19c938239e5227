"""Input files of a job, piece by piece."""

import pytest
from gpunode_node.job_inputs import PIECE_TIMEOUT_S, InputBudget, JobInputs
from gpunode_protocol.blobs import Blob, blob_frames
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.messages import MAX_BLOB_CHUNK_BYTES, BlobFrame
from gpunode_protocol.outputs import blob_digest
from gpunode_protocol.payloads import BlobRef

from tests.node.virtual_time import virtual_time

SALT = b"s" * 32
AUDIO = Blob(id=1, media_type="audio/wav", data=bytes(MAX_BLOB_CHUNK_BYTES + 10))
MASK = Blob(id=2, media_type="image/png", data=b"mask")


def _ref(blob: Blob) -> BlobRef:
    return BlobRef(
        id=blob.id, size_bytes=len(blob.data), digest=blob_digest(SALT, blob.data), media_type=blob.media_type
    )


def _pieces(*blobs: Blob) -> list[BlobFrame]:
    return [piece for blob in blobs for piece in blob_frames(blob, SALT)]


def _inputs(*blobs: Blob, max_bytes: int = 1_000_000) -> JobInputs:
    return JobInputs(SALT, [_ref(blob) for blob in blobs], max_bytes)


async def test_files_are_whole_and_known_by_their_ids() -> None:
    """They may come in any order, each in order; what comes again afterwards changes nothing."""
    inputs = _inputs(AUDIO, MASK)
    for piece in _pieces(MASK, AUDIO):
        assert not inputs.is_complete
        inputs.receive(piece)
    inputs.receive(_pieces(AUDIO)[0])
    assert await inputs.wait() == {1: AUDIO.data, 2: MASK.data}
    inputs.forget()
    assert await inputs.wait() == {}


async def test_a_job_without_files_waits_for_none() -> None:
    """And takes none."""
    inputs = _inputs()
    assert await inputs.wait() == {}
    with pytest.raises(JobError) as caught:
        inputs.receive(_pieces(MASK)[0])
    assert caught.value.code is ErrorCode.UNEXPECTED_MESSAGE


async def test_other_files_than_the_signed_ones() -> None:
    """The request's digest binds the bytes."""
    with pytest.raises(JobError) as caught:
        _inputs(AUDIO).receive(_pieces(Blob(id=1, media_type="audio/wav", data=b"other"))[0])
    assert caught.value.code is ErrorCode.BLOB_INVALID


async def test_too_large_a_file_is_refused_before_a_byte_came() -> None:
    """The declared sizes count."""
    with pytest.raises(JobError, match="Send a smaller file") as caught:
        _inputs(AUDIO, max_bytes=MAX_BLOB_CHUNK_BYTES)
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS


async def test_another_stream_begins_anew() -> None:
    """A client that re-attaches sends everything again; what is whole already stays."""
    inputs, pieces = _inputs(AUDIO), _pieces(AUDIO)
    inputs.receive(pieces[0])
    inputs.restart()
    for piece in pieces:
        inputs.receive(piece)
    inputs.restart()
    assert await inputs.wait() == {1: AUDIO.data}


@virtual_time
async def test_a_client_that_stops_sending() -> None:
    """It is not waited for for ever."""
    inputs = _inputs(AUDIO)
    inputs.receive(_pieces(AUDIO)[0])
    with pytest.raises(JobError, match=f"{PIECE_TIMEOUT_S:g} s") as caught:
        await inputs.wait()
    assert caught.value.code is ErrorCode.BLOB_INVALID


def test_the_budget_of_all_jobs() -> None:
    """What is given back can be taken again."""
    budget = InputBudget(10)
    budget.take(6)
    with pytest.raises(JobError) as caught:
        budget.take(5)
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.BUSY, True)
    budget.give_back(6)
    budget.take(10)
