"""A token and its renewal; ``test_tracker_link`` and ``pull/test_worker_link`` have both kinds with a tracker."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from gpunode_node.errors import StateUnwritable, TrackerRefused, TrackerUnreachable
from gpunode_node.network_state import NetworkState
from gpunode_node.registered_contact import RETRY_S, RegisteredContact, pause_s
from gpunode_node.token_losses import KEY_ELSEWHERE, LOSSES
from gpunode_protocol.errors import GpunodeError

from tests.node.world import EPOCH, NODE


@dataclass(frozen=True)
class _Given:
    token: str


class _Contact(RegisteredContact[_Given]):
    """Registers without a tracker, which knows the newest token only."""

    def __init__(self, folder: Path, given: _Given | None = None) -> None:
        super().__init__(cast("Any", None), NODE, NetworkState(folder / "n.json"), given, lambda: EPOCH)
        self.registrations = 0
        self.failure: GpunodeError | None = None

    async def register(self) -> _Given:
        """Return the next token."""
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        self.registrations += 1
        self._given = _Given(str(self.registrations))
        return self._given

    async def call(self, status: int = 401) -> str:
        """Make a call and return the token that it was made with."""

        async def answer(given: _Given) -> str:
            await asyncio.sleep(0)
            if given.token != str(self.registrations):
                raise TrackerRefused(status, "no")
            return given.token

        return await self._with_given(answer)


async def test_without_a_token(tmp_path: Path) -> None:
    """The first calls register, once."""
    contact = _Contact(tmp_path)
    assert await asyncio.gather(contact.call(), contact.call()) == ["1", "1"]
    assert contact.registrations == 1


async def test_a_token_that_is_not_known_any_more(tmp_path: Path) -> None:
    """It is renewed once for all calls that were refused for it."""
    contact = _Contact(tmp_path, _Given("old"))
    assert await asyncio.gather(*(contact.call() for _ in range(3))) == ["1"] * 3
    assert contact.registrations == 1


async def test_a_registration_that_cannot_be_kept(tmp_path: Path) -> None:
    """The disk is full: that passes, as a tracker's silence does, and callers need to know of nothing else."""
    contact = _Contact(tmp_path, _Given("old"))
    contact.failure = StateUnwritable("worker.json cannot be written")
    with pytest.raises(TrackerUnreachable, match=r"worker\.json cannot be written"):
        await contact.call()


async def test_a_key_that_somebody_else_uses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each of them takes the token from the other one, for ever: that is told, and logged once."""
    contact = _Contact(tmp_path)
    for _ in range(LOSSES):
        await contact.call()
        assert contact.key_problem == ""
        contact.registrations += 1  # the other one's
    for _ in range(2):
        await contact.call()
        contact.registrations += 1
        assert contact.key_problem == KEY_ELSEWHERE
    assert [record.message for record in caplog.records] == [KEY_ELSEWHERE]


async def test_another_refusal(tmp_path: Path) -> None:
    """It is the caller's."""
    contact = _Contact(tmp_path, _Given("old"))
    with pytest.raises(TrackerRefused):
        await contact.call(status=403)
    assert contact.registrations == 0


async def test_a_registration_that_fails(tmp_path: Path) -> None:
    """So does the call."""
    contact = _Contact(tmp_path)
    contact.failure = TrackerUnreachable("nobody there")
    with pytest.raises(TrackerUnreachable):
        await contact.call()


def test_pauses() -> None:
    """A failed heartbeat is repeated soon, and ever more slowly, but not more slowly than others come."""
    assert [pause_s(failures, 60) for failures in range(8)] == [60, RETRY_S, 4, 8, 16, 32, 60, 60]
