"""``gpunode doctor``."""

import json
from collections.abc import Iterator
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from gpunode_protocol.diagnosis import CHECKS_GROUP, Check, Subject

from gpunode.cli_options import (
    ApiKeyFileOption,
    CaFileOption,
    InsecureOption,
    JsonOption,
    StateDirOption,
    TrackerOption,
)

#: In this order the components' checks are printed; those of others follow.
_ORDER = ("sdk", "node", "engines")


def doctor(
    *,
    tracker: TrackerOption = None,
    api_key_file: ApiKeyFileOption = None,
    ca_file: CaFileOption = None,
    insecure: InsecureOption = None,
    state_dir: StateDirOption = None,
    data_dir: Annotated[Path | None, typer.Option(help="The node's folder; by default the platform's.")] = None,
    as_json: JsonOption = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings too.")] = False,
) -> int:
    """Check what gpunode needs here, and say what to do about what is wrong. Exit code 1 if anything failed."""
    from gpunode.doctor import report  # noqa: PLC0415 -- --help stays light
    from gpunode.doctor.runner import run_checks  # noqa: PLC0415 -- as above
    from gpunode.doctor.tracker_setting import effective_tracker  # noqa: PLC0415 -- as above

    subject = Subject(
        tracker=tracker or effective_tracker(),
        ca_file=ca_file,
        insecure=insecure or None,
        api_key_file=api_key_file,
        state_dir=state_dir,
        data_dir=data_dir,
    )
    diagnoses = []
    for diagnosis in run_checks(list(contributed_checks(subject))):
        diagnoses.append(diagnosis)
        if not as_json:
            typer.echo(report.lines_of(diagnosis))
    if as_json:
        typer.echo(json.dumps(report.as_json(diagnoses, strict=strict)))
    else:
        typer.echo(report.summary_of(diagnoses))
    return 0 if report.is_well(diagnoses, strict=strict) else 1


def contributed_checks(subject: Subject) -> Iterator[Check]:
    """Yield the checks of every component that is installed."""
    found = {entry.name: entry for entry in entry_points(group=CHECKS_GROUP)}
    for name in sorted(found, key=lambda name: (name not in _ORDER, _ORDER.index(name) if name in _ORDER else 0, name)):
        try:
            contribute = found[name].load()
        except ModuleNotFoundError as error:
            if error.name != found[name].module:
                yield Check(name=name, run=partial(_raise, error), extra=name if name == "node" else "")
            continue
        yield from contribute(subject)


def _raise(error: Exception) -> NoReturn:
    raise error
