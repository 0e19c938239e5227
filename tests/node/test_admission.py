"""Which requests may be worked on: grants, exposure, replays."""

import pytest
from gpunode_node.admission import (
    MAX_REQUESTS_PER_GRANT,
    MEMORY_AFTER_EXPIRY_S,
    Admission,
    check_grant_of,
    key_of,
)
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.grants import Cap, Confirmation

from tests.node.world import (
    CLIENT,
    EPOCH,
    EXPOSURE_MICROCREDITS,
    NODE,
    OTHER,
    TRUST,
    grant,
    request,
    revocations,
    token,
)


def _admission(exposure_microcredits: int = EXPOSURE_MICROCREDITS) -> Admission:
    return Admission(NODE.peer_id, exposure_microcredits)


def test_a_good_grant() -> None:
    """A grant of the tracker for this client and task is returned."""
    assert check_grant_of(request(), TRUST, revocations().body, now=EPOCH).jti == "grant-1"


@pytest.mark.parametrize(
    ("token_of", "now", "code"),
    [
        (lambda: token(grant(), signer=OTHER), EPOCH, ErrorCode.GRANT_INVALID),
        (lambda: token(grant(), kid="0" * 16), EPOCH, ErrorCode.GRANT_INVALID),
        (lambda: token(grant(cnf=Confirmation(peer=OTHER.peer_id))), EPOCH, ErrorCode.GRANT_INVALID),
        (lambda: token(grant(cap=Cap(nodes={OTHER.peer_id: 1}))), EPOCH, ErrorCode.GRANT_INVALID),
        (lambda: token(grant(exp=EPOCH + 100_000)), EPOCH, ErrorCode.GRANT_INVALID),
        (lambda: token(grant()), EPOCH + 3601, ErrorCode.GRANT_EXPIRED),
        (lambda: token(grant(jti="revoked")), EPOCH, ErrorCode.GRANT_REVOKED),
        (lambda: token(grant(tasks=("whisper",))), EPOCH, ErrorCode.TASK_NOT_ALLOWED),
        (lambda: "a.b.c", EPOCH, ErrorCode.GRANT_INVALID),
    ],
    ids=["forged", "unknown key", "foreign", "other node", "too long", "expired", "revoked", "task", "unreadable"],
)
def test_bad_grants(token_of: object, now: int, code: ErrorCode) -> None:
    """Each defect has its code."""
    assert callable(token_of)
    with pytest.raises(JobError) as caught:
        check_grant_of(request(grant_token=token_of()), TRUST, revocations("revoked").body, now=now)
    assert caught.value.code is code


def test_the_same_request_twice() -> None:
    """Identical bytes and other bytes are both replays, in different words."""
    admission = _admission()
    asked = request()
    admission.begin(asked, grant())
    with pytest.raises(JobError, match="not computed twice") as caught:
        admission.begin(asked, grant())
    assert caught.value.code is ErrorCode.REPLAYED
    with pytest.raises(JobError, match="other content"):
        admission.begin(request(job=asked.body.job, salt=b"x" * 32), grant())


def test_segments_and_clients_are_apart() -> None:
    """Another segment, or the same job id of another client, is another request."""
    admission = _admission()
    asked = request()
    admission.begin(asked, grant())
    admission.begin(request(job=asked.body.job, segment=1), grant())
    admission.begin(request(OTHER, job=asked.body.job), grant(cnf=Confirmation(peer=OTHER.peer_id)))
    assert len(admission) == 3


def test_a_segment_starts_where_the_vouchers_end() -> None:
    """A segment below what the client vouched for in the same job would be paid twice by it, so it is refused."""
    admission = _admission()
    asked = request()
    admission.begin(asked, grant())
    admission.vouch(key_of(asked.body), 64)
    admission.finish(key_of(asked.body), 5)
    with pytest.raises(JobError, match="starts at 63") as caught:
        admission.begin(request(job=asked.body.job, segment=1, start=63), grant(jti="grant-2"))
    assert caught.value.code is ErrorCode.REPLAYED
    admission.begin(request(job=asked.body.job, segment=1, start=64), grant())
    admission.begin(request(), grant())
    admission.vouch(key_of(request().body), 5)  # one that is not remembered any more


def test_the_memory_of_a_grant_is_bounded() -> None:
    """The 65th request of a client under one grant is refused; another grant is not affected."""
    admission = _admission()
    many = grant(jobs=1_000)
    for _ in range(MAX_REQUESTS_PER_GRANT):
        admission.begin(request(), many)
    with pytest.raises(JobError) as caught:
        admission.begin(request(), many)
    assert (caught.value.code, caught.value.retryable) == (ErrorCode.REPLAY_MEMORY_FULL, True)
    admission.begin(request(), grant(jti="grant-2"))


def test_jobs_in_flight() -> None:
    """A grant allows so many jobs at once; one that ended makes room."""
    admission = _admission()
    first = request()
    admission.begin(first, grant(jobs=1))
    with pytest.raises(JobError) as caught:
        admission.begin(request(), grant(jobs=1))
    assert caught.value.code is ErrorCode.GRANT_EXHAUSTED
    admission.finish(key_of(first.body), 5)
    admission.begin(request(), grant(jobs=1))


def test_exposure_counts_the_worst_case_until_the_cost_is_known() -> None:
    """Two jobs that could exceed the cap together are not both taken; what remains is available again."""
    admission = _admission()
    first, second = request(), request()
    capped = grant(cap=Cap(open=1_000))
    admission.begin(first, capped)
    admission.reserve(key_of(first.body), capped, 800)
    admission.begin(second, capped)
    with pytest.raises(JobError) as caught:
        admission.reserve(key_of(second.body), capped, 300)
    assert caught.value.code is ErrorCode.GRANT_EXHAUSTED
    admission.finish(key_of(first.body), 100)
    admission.reserve(key_of(second.body), capped, 300)
    assert admission.spent_microcredits("grant-1") == 400


def test_an_open_grant_is_capped_by_the_exposure() -> None:
    """A grant used at 50 nodes at once costs each of them its exposure at most."""
    admission = _admission(exposure_microcredits=500)
    asked = request()
    admission.begin(asked, grant())
    with pytest.raises(JobError, match="500"):
        admission.reserve(key_of(asked.body), grant(), 501)
    admission.reserve(key_of(asked.body), grant(), 500)


def test_a_funded_grant_is_capped_by_its_own_figure() -> None:
    """What is reserved for this node by name is no risk."""
    admission = _admission(exposure_microcredits=500)
    asked = request()
    named = grant(cap=Cap(nodes={NODE.peer_id: 2_000}))
    admission.begin(asked, named)
    admission.reserve(key_of(asked.body), named, 2_000)
    with pytest.raises(JobError):
        admission.reserve(key_of(asked.body), named, 2_001)


def test_forgetting() -> None:
    """A refused request may come again."""
    admission = _admission()
    asked = request()
    admission.begin(asked, grant())
    admission.forget(key_of(asked.body))
    admission.begin(asked, grant())


def test_expiry() -> None:
    """A request is remembered until its grant's end + 2 min, and as long as it runs."""
    admission = _admission()
    asked, running = request(), request()
    for each in (asked, running):
        admission.begin(each, grant())
    admission.finish(key_of(asked.body), 1)
    end = EPOCH + 3600 + MEMORY_AFTER_EXPIRY_S
    assert admission.expire(end) == []
    assert admission.expire(end + 1) == [key_of(asked.body)]
    assert [job.key for job in admission] == [key_of(running.body)]


def test_what_an_earlier_process_remembered() -> None:
    """Spent amounts and replays survive; nothing of it counts as in flight."""
    admission = _admission()
    asked = request()
    admission.begin(asked, grant())
    admission.reserve(key_of(asked.body), grant(), 77)
    again = Admission(NODE.peer_id, 1_000, admission)
    assert again.spent_microcredits("grant-1") == 77
    with pytest.raises(JobError):
        again.begin(asked, grant())
    assert key_of(asked.body).client == CLIENT.peer_id
