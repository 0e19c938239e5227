import errno
from pathlib import Path
from unittest.mock import Mock

import pytest
from gpunode._unsettled import KEPT_S, MAX_KEPT, UnsettledVouchers
from gpunode_protocol.signing import Envelope
from gpunode_protocol.tracker_api import SettlementItem

from tests.sdk.world import EPOCH


def _item(number: int) -> SettlementItem:
    return SettlementItem(voucher=Envelope(body=number.to_bytes(4, "big"), signature=bytes(64)))


def _vouchers(folder: Path, now: float = EPOCH) -> UnsettledVouchers:
    return UnsettledVouchers(folder / "vouchers", clock=lambda: now)


def test_what_was_put_is_there_for_the_next_process(tmp_path: Path) -> None:
    """Privately, until it is removed; the same voucher is kept once."""
    vouchers = _vouchers(tmp_path)
    name = vouchers.put(_item(1))
    assert vouchers.put(_item(1)) == name
    assert _vouchers(tmp_path).all() == {name: _item(1)}
    (file,) = (tmp_path / "vouchers").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    vouchers.remove(name)
    assert _vouchers(tmp_path).all() == {}
    vouchers.remove(name)


def test_so_many_are_kept_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that came first."""
    assert MAX_KEPT >= 1_000
    monkeypatch.setattr("gpunode._unsettled.MAX_KEPT", 2)
    vouchers = _vouchers(tmp_path)
    names = [vouchers.put(_item(number)) for number in range(3)]
    assert names[2] is None
    assert len(vouchers.all()) == 2


def test_where_it_is_full_what_is_too_old_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tracker would not pay for it any more. Only there: a clock that is wrong for a while shall cost nobody."""
    monkeypatch.setattr("gpunode._unsettled.MAX_KEPT", 2)
    old = _vouchers(tmp_path)
    names = [old.put(_item(number)) for number in range(2)]
    assert _vouchers(tmp_path, EPOCH + KEPT_S).put(_item(2)) is None
    late = _vouchers(tmp_path, EPOCH + KEPT_S + 1)
    assert list(late.all()) == sorted(names)
    name = late.put(_item(3))
    assert list(late.all()) == [name]


def test_a_voucher_that_is_kept_already_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be put twice."""
    monkeypatch.setattr("gpunode._unsettled.MAX_KEPT", 1)
    vouchers = _vouchers(tmp_path)
    assert vouchers.put(_item(1)) == vouchers.put(_item(1))


def test_a_file_that_cannot_be_read_now_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process with too many open files must not take it for damaged."""
    vouchers = _vouchers(tmp_path)
    name = vouchers.put(_item(1))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", Mock(side_effect=OSError(errno.EMFILE, "Too many open files")))
        patch.setattr(Path, "read_bytes", Mock(side_effect=OSError(errno.EMFILE, "Too many open files")))
        assert vouchers.all() == {}
    assert list(vouchers.all()) == [name]


def test_a_damaged_file_is_dropped(tmp_path: Path) -> None:
    """And keeps nothing else from being read."""
    vouchers = _vouchers(tmp_path)
    name = vouchers.put(_item(1))
    for number, text in enumerate(
        ('{"voucher": 1}', "", "[]", "\0", f'{{"at": 1{"0" * 400}, "item": {{}}}}', "[" * 100_000)
    ):
        (tmp_path / "vouchers" / f"{number}.json").write_text(text)
    assert list(vouchers.all()) == [name]
    assert [file.stem for file in (tmp_path / "vouchers").iterdir()] == [name]


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    """Jobs go on."""
    (tmp_path / "vouchers").write_text("in the way")
    vouchers = _vouchers(tmp_path)
    assert vouchers.put(_item(1)) is None
    assert vouchers.all() == {}
