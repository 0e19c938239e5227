from pathlib import Path

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


def test_what_is_too_old_is_dropped(tmp_path: Path) -> None:
    """The tracker would not pay for it any more."""
    name = _vouchers(tmp_path).put(_item(1))
    assert list(_vouchers(tmp_path, EPOCH + KEPT_S).all()) == [name]
    assert _vouchers(tmp_path, EPOCH + KEPT_S + 1).all() == {}
    assert list((tmp_path / "vouchers").iterdir()) == []


def test_a_damaged_file_is_dropped(tmp_path: Path) -> None:
    """And keeps nothing else from being read."""
    vouchers = _vouchers(tmp_path)
    name = vouchers.put(_item(1))
    (tmp_path / "vouchers" / "x.json").write_text('{"voucher": 1}')
    assert list(vouchers.all()) == [name]
    assert [file.stem for file in (tmp_path / "vouchers").iterdir()] == [name]


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path: Path) -> None:
    """Jobs go on."""
    (tmp_path / "vouchers").write_text("in the way")
    vouchers = _vouchers(tmp_path)
    assert vouchers.put(_item(1)) is None
    assert vouchers.all() == {}
