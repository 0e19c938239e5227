"""NVIDIA's cards and driver on this machine, for a person who looks for what is wrong."""

from dataclasses import dataclass
from pathlib import Path

from gpunode_engines.devices import Gpu, NvmlProbe

PCI_DEVICES = Path("/sys/bus/pci/devices")

# The PCI ID repository: vendor NVIDIA, base class "display controller".
_NVIDIA = "0x10de"
_DISPLAY_CLASS = "0x03"


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverState:
    """cards: NVIDIA's, on the PCI bus. version: the driver's, empty without one. problem: why NVML does not work."""

    cards: int
    version: str = ""
    problem: str = ""
    gpus: tuple[Gpu, ...] = ()


def read_driver_state(pci_devices: Path = PCI_DEVICES) -> DriverState:
    """Look at bus and driver.

    Raises:
        ModuleNotFoundError: the package nvidia-ml-py is not installed.
    """
    import pynvml  # noqa: PLC0415 -- an optional dependency

    cards = count_nvidia_cards(pci_devices)
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return DriverState(cards=cards, problem=str(error))
    try:
        version = pynvml.nvmlSystemGetDriverVersion()
    except pynvml.NVMLError as error:
        return DriverState(cards=cards, problem=str(error))
    finally:
        pynvml.nvmlShutdown()
    text = version.decode() if isinstance(version, bytes) else str(version)
    return DriverState(cards=cards, version=text, gpus=NvmlProbe().gpus())


def count_nvidia_cards(pci_devices: Path) -> int:
    """Return how many NVIDIA graphics cards the PCI bus has; 0 where there is no such list."""
    return sum(
        _read(device / "vendor") == _NVIDIA and _read(device / "class").startswith(_DISPLAY_CLASS)
        for device in pci_devices.glob("*")
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""
