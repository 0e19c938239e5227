import json
from pathlib import Path

import pytest
import typer
from gpunode_engines.catalogue import default_catalogue
from gpunode_engines.commands import register
from gpunode_engines.errors import ModelNotFound
from typer.testing import CliRunner


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """The command with only these subcommands, and folders of the test's own."""
    monkeypatch.setenv("GPUNODE_MODELS_DIR", str(tmp_path / "models"))
    root = typer.Typer()
    register(root)
    return root


def test_models_are_listed(app: typer.Typer) -> None:
    """JSON names each model, whether it is here, and its sizes."""
    result = CliRunner().invoke(app, ["models", "list", "--json"])
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["qwen2.5-7b-instruct"]["pulled"] is False
    assert rows["smollm2-135m"]["pulled"] is True
    assert rows["smollm2-135m"]["weights_bytes"] == 98_362_432
    assert rows["smollm2-135m"]["memory_bytes"] > 98_362_432


def test_the_table_names_every_model_in_80_columns(app: typer.Typer) -> None:
    """People get a table with nothing cut; brackets in a licence are no markup."""
    result = CliRunner().invoke(app, ["models", "list"], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    assert all(entry.name in result.stdout for entry in default_catalogue().entries)
    assert "…" not in result.stdout
    assert "here" in result.stdout
    assert "FLUX.1 [dev]" in result.stdout


def test_gated_models_are_told(app: typer.Typer) -> None:
    """The hub gives them to nobody without an account: who reads the list shall not try in vain."""
    rows = json.loads(CliRunner().invoke(app, ["models", "list", "--json"]).stdout)
    gated = {row["name"] for row in rows if row["gated"]}
    assert gated == {entry.name for entry in default_catalogue().entries if entry.gated}
    assert gated
    assert CliRunner().invoke(app, ["models", "list"], env={"COLUMNS": "160"}).stdout.count("gated") == len(gated)


def test_a_model_is_pulled_from_a_folder(app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By alias; the files are named."""
    repo = tmp_path / "mirror" / "Qwen" / "Qwen2.5-0.5B-Instruct-GGUF"
    repo.mkdir(parents=True)
    (repo / "qwen2.5-0.5b-instruct-q4_k_m.gguf").write_bytes(b"weights")
    monkeypatch.setenv("GPUNODE_MODEL_MIRROR", str(tmp_path / "mirror"))
    result = CliRunner().invoke(app, ["models", "pull", "qwen2.5-0.5b"])
    assert "q4_k_m.gguf" in result.stdout
    again = CliRunner().invoke(app, ["models", "pull", "qwen2.5-0.5b", "--json"])
    assert json.loads(again.stdout)["pulled"] is True


def test_an_unknown_model_is_an_error(app: typer.Typer) -> None:
    """The message lists what exists; the command line prints it."""
    result = CliRunner().invoke(app, ["models", "pull", "nonsense"])
    assert isinstance(result.exception, ModelNotFound)


@pytest.fixture
def pulled(app: typer.Typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a pulled model."""
    repo = tmp_path / "mirror" / "Qwen" / "Qwen2.5-0.5B-Instruct-GGUF"
    repo.mkdir(parents=True)
    (repo / "qwen2.5-0.5b-instruct-q4_k_m.gguf").write_bytes(b"weights")
    monkeypatch.setenv("GPUNODE_MODEL_MIRROR", str(tmp_path / "mirror"))
    assert CliRunner().invoke(app, ["models", "pull", "qwen2.5-0.5b"]).exit_code == 0
    return tmp_path / "models" / "qwen2.5-0.5b-instruct" / "qwen2.5-0.5b-instruct-q4_k_m.gguf"


def test_a_pulled_model_is_verified(app: typer.Typer, pulled: Path) -> None:
    """Exit code 0, then 1 with the file that differs and how to repair it."""
    good = CliRunner().invoke(app, ["models", "verify", "qwen2.5-0.5b"])
    assert (good.exit_code, "as it was pulled" in good.stdout) == (0, True)
    pulled.write_bytes(b"WEIGHTS")
    bad = CliRunner().invoke(app, ["models", "verify", "qwen2.5-0.5b"])
    assert bad.exit_code == 1
    assert f"{pulled.name} has other contents" in bad.stdout
    assert "gpunode models pull qwen2.5-0.5b-instruct" in bad.stderr
    as_json = CliRunner().invoke(app, ["models", "verify", "qwen2.5-0.5b", "--json"])
    assert json.loads(as_json.stdout)["files"][0]["ok"] is False


def test_a_model_that_cannot_be_read_hides_no_other_one(app: typer.Typer, pulled: Path, tmp_path: Path) -> None:
    """Its file was replaced by a link to somewhere else, which is not followed."""
    elsewhere = pulled.replace(tmp_path / "elsewhere.gguf")
    pulled.symlink_to(elsewhere)
    result = CliRunner().invoke(app, ["models", "list", "--json"])
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows["qwen2.5-0.5b-instruct"]["pulled"] is False
    assert rows["smollm2-135m"]["pulled"] is True


def test_a_pulled_model_is_removed(app: typer.Typer, pulled: Path) -> None:
    """What it took is told."""
    result = CliRunner().invoke(app, ["models", "remove", "qwen2.5-0.5b", "--json"])
    assert json.loads(result.stdout) == {"name": "qwen2.5-0.5b-instruct", "freed_bytes": len(b"weights")}
    assert not pulled.parent.exists()
