"""Price tables in files."""

from pathlib import Path

import pytest
from gpunode_protocol.prices import Price
from gpunode_tracker.errors import InvalidRequest
from gpunode_tracker.price_files import read_price_file

TOML = """
[tasks]
llm = {input_microcredits = 1, output_microcredits = 2}
[models]
"qwen2.5-7b" = {input_microcredits = 3, output_microcredits = 4}
"""
JSON = '{"tasks": {"llm": {"input_microcredits": 1, "output_microcredits": 2}}}'


def _file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_toml_and_json(tmp_path: Path) -> None:
    """The kind of file follows from its name; models may be left out."""
    tasks, models = read_price_file(_file(tmp_path, "prices.toml", TOML))
    assert tasks == {"llm": Price(input_microcredits=1, output_microcredits=2)}
    assert models == {"qwen2.5-7b": Price(input_microcredits=3, output_microcredits=4)}
    assert read_price_file(_file(tmp_path, "prices.json", JSON)) == (tasks, {})


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("x.toml", "tasks = ", "cannot be read"),
        ("x.json", "{", "cannot be read"),
        ("x.json", "[" * 100_000, "cannot be read"),
        ("x.json", "[]", "tables named 'tasks' and 'models'"),
        ("x.toml", "", "tasks: is missing"),
        ("x.toml", "[tasks]\nllm = {input_microcredits = -1, output_microcredits = 0}", "input_microcredits: must be"),
        ("x.toml", "[tasks]\npoetry = {input_microcredits = 1, output_microcredits = 0}", "poetry"),
        ("x.toml", "[tasks]\nllm = 3", "tasks.llm"),
    ],
)
def test_files_that_cannot_be_used(name: str, text: str, words: str, tmp_path: Path) -> None:
    """The message names the file and the place in it."""
    with pytest.raises(InvalidRequest, match=words) as caught:
        read_price_file(_file(tmp_path, name, text))
    assert name in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """As the system puts it."""
    with pytest.raises(InvalidRequest, match="No such file"):
        read_price_file(tmp_path / "none.toml")
