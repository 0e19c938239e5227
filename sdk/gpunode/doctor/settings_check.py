"""One check of the settings, so that what is wrong with them is told once and not by every check that needs them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from gpunode_protocol.diagnosis import Check, Finding, failure, ok, skipped
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.settings import config_file

_CORRECT_IT = "Correct it; docs/configuration.md lists all settings."


def with_settings_check(checks: Sequence[Check]) -> list[Check]:
    """Return the checks with that of the settings before them; those whose settings cannot be used are skipped."""
    loaders = dict.fromkeys(check.load_settings for check in checks if check.load_settings is not None)
    faults = {load: fault for load in loaders if (fault := _fault_of(load))}
    first = Check(name="settings", run=partial(judge_settings, list(faults.values())))
    return [first, *(replace(check, run=_skip) if check.load_settings in faults else check for check in checks)]


def judge_settings(faults: Sequence[str]) -> Finding:
    """Judge what is wrong with the components' settings; the same fault may be in several."""
    if faults:
        what, *more = dict.fromkeys(faults)
        problem, _, fix = what.partition(". ")
        return failure(" ".join([f"{problem.removesuffix('.')}.", *more]), fix or _CORRECT_IT)
    file = config_file()
    source = f"from {file.absolute()}, the environment" if file.is_file() else "from the environment"
    return ok(f"Valid; {source} and the options.")


def _fault_of(load: Callable[[], object]) -> str:
    try:
        load()
    except GpunodeError as error:
        return str(error)
    return ""


def _skip() -> Finding:
    return skipped("Needs settings that cannot be used; see the check of the settings.")
