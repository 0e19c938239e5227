"""What benches report: one JSON object for programs, one table a bench for people."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table

#: Distributions whose version can change a figure.
VERSIONED: Final = ("gpunode", "diffusers", "hivemind", "torch", "transformers", "xllamacpp")

#: The order of columns; a bench fills those that its summaries have.
_COLUMNS: Final = ("median", "p25", "p75", "p95", "p99", "max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One figure. name: stable, for programs. about: for people. values: see ``stats``, of ``count`` measurements."""

    name: str
    about: str
    unit: str
    count: int
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """One bench. settings: what was fixed. load_before, load_after: processes that wanted to run, mean of a minute."""

    bench: str
    about: str
    settings: Mapping[str, int | float | str]
    measures: tuple[Measure, ...]
    load_before: float
    load_after: float


def load_average() -> float:
    """Return the system's load average of the last minute."""
    return os.getloadavg()[0]


def machine_facts() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores, memory (bytes), system and versions."""
    from gpunode_engines.devices import detect_machine  # noqa: PLC0415 -- psutil comes with an extra

    machine = detect_machine()
    return {
        "architecture": platform.machine(),
        "physical_cores": machine.physical_cores,
        "logical_cores": machine.logical_cores,
        "memory_bytes": machine.memory_bytes,
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: found for name in VERSIONED if (found := _version(name)) is not None},
    }


def to_json(results: Sequence[BenchResult], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that ``--json`` prints."""
    return {"machine": dict(machine), "benches": {result.bench: _result_to_json(result) for result in results}}


def to_tables(results: Sequence[BenchResult], machine: Mapping[str, Any]) -> RenderableType:
    """Return the same for people."""
    return Group(*(_table(result) for result in results), _machine_line(machine))


def _result_to_json(result: BenchResult) -> dict[str, Any]:
    return {
        "settings": dict(result.settings),
        "load_average": {"before": result.load_before, "after": result.load_after},
        "measures": {
            measure.name: {"unit": measure.unit, "count": measure.count, **measure.values}
            for measure in result.measures
        },
    }


def _table(result: BenchResult) -> Table:
    settings = ", ".join(f"{name} {value}" for name, value in result.settings.items())
    table = Table(
        title=f"{result.bench}: {result.about}",
        title_justify="left",
        caption=f"{settings}; load average {result.load_before:.2f} before, {result.load_after:.2f} after",
        caption_justify="left",
    )
    columns = [name for name in _COLUMNS if any(name in measure.values for measure in result.measures)]
    table.add_column("measure")
    for name in (*columns, "unit", "count"):
        table.add_column(name, justify="left" if name == "unit" else "right")
    for measure in result.measures:
        cells = [f"{measure.values[name]:.3g}" if name in measure.values else "" for name in columns]
        table.add_row(measure.about, *cells, measure.unit, str(measure.count))
    return table


def _machine_line(machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    memory_gib = machine["memory_bytes"] / 2**30
    return (
        f"{machine['physical_cores']} cores ({machine['logical_cores']} logical, {machine['architecture']}), "
        f"{memory_gib:.0f} GiB, {machine['system']}, Python {machine['python']}, {versions}"
    )


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
