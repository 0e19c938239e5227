import time
from pathlib import Path

import pytest
from gpunode._grants import KeptGrant
from gpunode._state import write_json
from gpunode.doctor.grant_check import check_grant, judge_trial, longest_grant
from gpunode.doctor.tracker_facts import TrackerFacts
from gpunode.errors import Unauthorized
from gpunode_protocol.grants import Cap, Confirmation, Grant, audience, issue_grant
from gpunode_protocol.identity import Identity
from gpunode_protocol.prices import DEFAULT_PRICES
from gpunode_protocol.tracker_api import BALANCE_PATH, GRANTS_PATH, GrantReply

from tests.sdk.doctor.tracker_server import TrackerServer
from tests.sdk.world import EPOCH, Keys

KEYS = Keys()


def _kept(token: str) -> object:
    return KeptGrant(token=token, prices=DEFAULT_PRICES).model_dump(mode="json")


def _token(issued_at: int, lifetime_s: int, keys: Keys = KEYS) -> str:
    grant = Grant(
        iss=audience(keys.network),
        aud=audience(keys.network),
        sub="subject",
        jti=f"grant-{lifetime_s}",
        iat=issued_at,
        exp=issued_at + lifetime_s,
        cnf=Confirmation(peer=Identity.from_seed(bytes(32)).peer_id),
        tasks=("llm",),
        jobs=1,
        price=1,
        cap=Cap(open=1),
    )
    return issue_grant(grant, signer=keys.signer, kid=keys.kid)


def test_without_a_key_there_is_nothing_to_check(facts: TrackerFacts, no_facts: TrackerFacts) -> None:
    """Nodes need none."""
    finding = check_grant(facts)
    assert (finding.status, "GPUNODE_API_KEY" in finding.fix) == ("skipped", True)
    assert check_grant(no_facts).status == "skipped"


@pytest.mark.usefixtures("_right_key")
class TestWithTheRightKey:
    """The key is good."""

    @pytest.fixture
    def _right_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GPUNODE_API_KEY", "right")

    def test_a_grant_is_asked_for(self, facts: TrackerFacts, tracker: TrackerServer, tmp_path: Path) -> None:
        """With the smallest reservation; neither key nor grant are kept."""
        finding = check_grant(facts)
        assert (finding.status, "5.00 credits" in finding.message) == ("ok", True)
        assert tracker.asked[1:] == [BALANCE_PATH, GRANTS_PATH]
        assert not (tmp_path / "state").exists()

    def test_an_address_that_is_no_trackers(self, facts: TrackerFacts, tracker: TrackerServer) -> None:
        """The check of the tracker tells it."""
        tracker.status = 302
        assert check_grant(facts).status == "skipped"

    def test_a_kept_grant_is_enough(self, facts: TrackerFacts, tracker: TrackerServer) -> None:
        """No other one is asked for."""
        now = int(time.time())
        write_json(
            facts.state()[1].grants_path("right"),
            [_kept(_token(now, 1_800, tracker.keys))],
        )
        finding = check_grant(facts, clock=lambda: now)
        assert (finding.status, "30 more min" in finding.message) == ("ok", True)
        assert GRANTS_PATH not in tracker.asked

    def test_an_account_without_credits(self, facts: TrackerFacts, tracker: TrackerServer) -> None:
        """The key is right, and that is said."""
        tracker.spendable_microcredits = 0
        finding = check_grant(facts)
        assert (finding.status, "key is right" in finding.message) == ("failure", True)

    def test_a_tracker_that_is_down(self, silent_facts: TrackerFacts) -> None:
        """The check of the tracker tells it."""
        assert check_grant(silent_facts).status == "skipped"


def test_a_wrong_key(facts: TrackerFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tracker's refusal is the finding."""
    monkeypatch.setenv("GPUNODE_API_KEY", "wrong")
    with pytest.raises(Unauthorized, match="API key"):
        check_grant(facts)


def test_a_grant_that_does_not_verify_points_to_the_clock() -> None:
    """Its times are the tracker's."""
    reply = GrantReply(grant=_token(EPOCH + 200, 60), jti="x", expires_at=EPOCH + 260, reserved_microcredits=1)
    finding = judge_trial(reply, KEYS.trust, spendable_microcredits=1, now=EPOCH)
    assert (finding.status, "NTP" in finding.fix) == ("failure", True)


def test_of_the_kept_grants_the_longest_counts() -> None:
    """Expired and foreign ones, and damaged files, do not."""
    foreign = Keys(root=Identity.from_seed(b"\x66" * 32), signer=Identity.from_seed(b"\x67" * 32))
    tokens = [_token(EPOCH, 60), _token(EPOCH, 600), _token(EPOCH - 4_000, 3_000), _token(EPOCH, 3_000, foreign), "x"]
    longest = longest_grant([*map(_kept, tokens), "x"], KEYS.trust, now=EPOCH + 1)
    assert longest is not None
    assert longest.exp == EPOCH + 600
    assert longest_grant({"damaged": 1}, KEYS.trust, now=EPOCH) is None
