"""NVML's bindings for a card that is made up: it answers what a script says, frame by frame."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

DATA = Path(__file__).parent / "data"


class NVMLError(Exception):
    """What the bindings raise."""


@dataclass
class ScriptedCard:
    """One card. missing: calls that this card or driver refuses. limits: power limits that were set, milliwatts."""

    script: dict[str, Any]
    missing: set[str] = field(default_factory=set)
    limits: list[int] = field(default_factory=list)
    frame: int = 0

    @property
    def now(self) -> dict[str, Any]:
        """The answers of the moment; the last one stays."""
        frames = self.script["frames"]
        return frames[min(self.frame, len(frames) - 1)]

    def module(self) -> ModuleType:
        """Return the bindings."""
        module = ModuleType("pynvml")
        answers = {
            "nvmlDeviceGetUtilizationRates": lambda _: SimpleNamespace(gpu=self.now["utilization"]),
            "nvmlDeviceGetPowerUsage": lambda _: self.now["power_mw"],
            "nvmlDeviceGetTemperature": lambda *_: self.now["temperature_c"],
            "nvmlDeviceGetProcessUtilization": lambda *_: [
                SimpleNamespace(pid=int(pid), smUtil=busy) for pid, busy in self.now["process_utilization"].items()
            ],
            "nvmlDeviceGetComputeRunningProcesses": lambda _: self._processes("compute"),
            "nvmlDeviceGetGraphicsRunningProcesses": lambda _: self._processes("graphics"),
            "nvmlDeviceGetPowerManagementLimitConstraints": lambda _: self.script["constraints_mw"],
            "nvmlDeviceGetPowerManagementLimit": lambda _: (self.limits or [self.script["limit_mw"]])[-1],
            "nvmlDeviceSetPowerManagementLimit": lambda _, limit: self.limits.append(limit),
        }
        for name, answer in answers.items():
            setattr(module, name, self._refused if name in self.missing else answer)
        module.NVMLError = NVMLError  # type: ignore[attr-defined]  # -- a module made up here
        module.NVML_TEMPERATURE_GPU = 0  # type: ignore[attr-defined]  # -- a module made up here
        module.nvmlInit = module.nvmlShutdown = lambda: None  # type: ignore[attr-defined]  # -- a module made up here
        module.nvmlDeviceGetCount = lambda: 1  # type: ignore[attr-defined]  # -- a module made up here
        module.nvmlDeviceGetHandleByIndex = lambda index: index  # type: ignore[attr-defined]  # -- a module made up here
        module.nvmlDeviceGetName = lambda _: "GeForce RTX 4090"  # type: ignore[attr-defined]  # -- a module made up here
        return module

    def _processes(self, kind: str) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=int(pid), usedGpuMemory=memory) for pid, memory in self.now[kind].items()]

    @staticmethod
    def _refused(*_: object) -> Any:
        raise NVMLError("Not Supported")


def play(monkeypatch: pytest.MonkeyPatch, name: str, *missing: str) -> ScriptedCard:
    """Put a scripted card in the place of the machine's."""
    card = ScriptedCard(json.loads((DATA / f"{name}.json").read_text()), set(missing))
    monkeypatch.setitem(sys.modules, "pynvml", card.module())
    return card
