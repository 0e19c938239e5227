"""Whether the API key yields grants, without which no node works for this client."""

import time
from collections.abc import Callable

from gpunode_protocol.clock_offset import CLOCK_FIX
from gpunode_protocol.diagnosis import Finding, failure, ok, skipped
from gpunode_protocol.errors import JobError
from gpunode_protocol.grants import Grant
from gpunode_protocol.identity import Identity
from gpunode_protocol.keyfile import load_identity
from gpunode_protocol.prices import MICROCREDITS_PER_CREDIT
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import GrantReply, GrantRequest
from gpunode_protocol.trust import Trust

from gpunode._grants import KeptGrant
from gpunode._state import read_json
from gpunode._tracker import TrackerClient
from gpunode.doctor.tracker_facts import TrackerFacts
from gpunode.errors import InsufficientCredits, TrackerError, TrackerUnreachable

TRIAL_LIFETIME_S = 60
"""Of the grant that is asked for as a trial: the shortest that there is."""
_SET_A_KEY = "Give an account's key with GPUNODE_API_KEY or --api-key-file; the tracker's operator hands them out."
_GET_CREDITS = "Ask the tracker's operator for credits."


def check_grant(facts: TrackerFacts, clock: Callable[[], float] = time.time) -> Finding:
    """Ask for the balance, and for a grant of one micro-credit unless a live one is kept."""
    if not facts.has_tracker:
        return skipped("No tracker is set.")
    api_key = facts.config().read_api_key()
    if api_key is None:
        return skipped("No API key is set; only clients need one.", _SET_A_KEY)
    try:
        answer = facts.answer()
    except (TrackerUnreachable, TrackerError):  # the check of the tracker tells why
        return skipped("The tracker gave no usable answer, so no grant can be had now.")
    trust = Trust.from_keyset(answer.info.root_public_key, answer.info.keyset)
    spendable = facts.ask(lambda tracker: tracker.balance()).spendable_microcredits
    folder, state = facts.state()
    kept = longest_grant(read_json(state.grants_path(api_key)), trust, now=clock())
    if kept is not None:
        return ok(f"A grant is here for {(kept.exp - clock()) / 60:.0f} more min; {_credits(spendable)} are free.")
    try:
        identity = load_identity(folder.identity_path)
    except FileNotFoundError:
        identity = Identity.generate()  # the first call makes and keeps one
    try:
        reply = facts.ask(lambda tracker: _trial(tracker, identity))
    except InsufficientCredits as error:
        return failure(f"The API key is right, but the account cannot pay: {error}", _GET_CREDITS)
    return judge_trial(reply, trust, spendable_microcredits=spendable, now=clock())


def judge_trial(reply: GrantReply, trust: Trust, *, spendable_microcredits: int, now: float) -> Finding:
    """Judge a fresh grant."""
    try:
        trust.open_grant(reply.grant, now=now)
    except JobError as error:
        return failure(f"The tracker's grant does not verify here: {error.message}", f"{CLOCK_FIX}.")
    return ok(f"The tracker grants this API key; {_credits(spendable_microcredits)} are free.")


def longest_grant(kept: object, trust: Trust, *, now: float) -> Grant | None:
    """Return the grant that lasts longest of those in the client's file; None = none is live."""
    live = []
    for entry in kept if isinstance(kept, list) else ():
        try:
            live.append(trust.open_grant(KeptGrant.model_validate(entry).token, now=now))
        except (JobError, ValueError):
            continue
    return max(live, key=lambda grant: grant.exp, default=None)


async def _trial(tracker: TrackerClient, identity: Identity) -> GrantReply:
    return await tracker.grant(
        GrantRequest(peer=identity.peer_id, tasks=(Task.LLM,), open_microcredits=1, lifetime_s=TRIAL_LIFETIME_S)
    )


def _credits(microcredits: int) -> str:
    return f"{microcredits / MICROCREDITS_PER_CREDIT:,.2f} credits"
