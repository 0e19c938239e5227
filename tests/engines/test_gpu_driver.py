from pathlib import Path

import pynvml
import pytest
from gpunode_engines import gpu_driver
from gpunode_engines.devices import Gpu
from gpunode_engines.gpu_driver import DriverState, count_nvidia_cards, read_driver_state


def _bus(folder: Path, *devices: tuple[str, str]) -> Path:
    """Return a PCI bus with devices of these vendors and classes."""
    for number, (vendor, device_class) in enumerate(devices):
        device = folder / f"0000:0{number}:00.0"
        device.mkdir()
        (device / "vendor").write_text(f"{vendor}\n")
        (device / "class").write_text(f"{device_class}\n")
    return folder


def test_only_nvidias_graphics_cards_count(tmp_path: Path) -> None:
    """Not its sound chips, nor the cards of others; a device without files is none."""
    bus = _bus(tmp_path, ("0x10de", "0x030000"), ("0x10de", "0x030200"), ("0x10de", "0x040300"), ("0x1002", "0x030000"))
    (bus / "0000:09:00.0").mkdir()
    assert count_nvidia_cards(bus) == 2
    assert count_nvidia_cards(tmp_path / "no bus") == 0


def test_a_card_without_a_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML's own words say what is wrong."""

    def fail() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    state = read_driver_state(_bus(tmp_path, ("0x10de", "0x030000")))
    assert (state.cards, state.gpus, state.version) == (1, (), "")
    assert "Not Found" in state.problem


@pytest.mark.parametrize("version", ["550.54.15", b"550.54.15"])
def test_a_working_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: object) -> None:
    """Its version is told with the cards; older bindings return bytes. NVML is ended again."""
    card = Gpu(name="RTX 4090", memory_bytes=24 * 1024**3, free_memory_bytes=20 * 1024**3)
    ended: list[bool] = []
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlShutdown", lambda: ended.append(True))
    monkeypatch.setattr(pynvml, "nvmlSystemGetDriverVersion", lambda: version)
    monkeypatch.setattr(gpu_driver.NvmlProbe, "gpus", lambda _: (card,))
    state = read_driver_state(_bus(tmp_path, ("0x10de", "0x030000")))
    assert state == DriverState(cards=1, version="550.54.15", gpus=(card,))
    assert ended == [True]


def test_this_machine() -> None:
    """Whatever it has, looking fails nowhere."""
    state = read_driver_state()
    assert state.gpus or state.problem or not state.cards
