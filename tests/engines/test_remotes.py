"""Downloads from a loopback server that answers as the hub does, and from a folder."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.errors import DigestMismatch, DownloadFailed
from gpunode_engines.fetch import pull
from gpunode_engines.hub_download import partial_path
from gpunode_engines.model_lock import ModelLock
from gpunode_engines.remotes import FolderRemote, HubRemote, choose_remote
from rich.console import Console
from rich.progress import Progress

QWEN = resolve_model("qwen2.5-7b")
PARTS = {f"qwen2.5-7b-instruct-q4_k_m-0000{number}-of-00002.gguf": bytes([number]) * 300_000 for number in (1, 2)}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """The three endpoints that huggingface_hub asks for a public model."""

    def __init__(self) -> None:
        self.content = dict(PARTS)
        self.headers_seen: list[str] = []

    def app(self) -> web.Application:
        """Return the server."""
        app = web.Application()
        app.router.add_get("/api/models/{owner}/{name}", self.model)
        app.router.add_get("/api/models/{owner}/{name}/revision/{revision}", self.model)
        app.router.add_get("/{owner}/{name}/resolve/{revision}/{file}", self.file)
        return app

    async def model(self, request: web.Request) -> web.Response:
        """List the files with their digests."""
        if request.match_info["name"] == "gated":
            return web.json_response({"error": "licence"}, status=403, headers={"X-Error-Code": "GatedRepo"})
        if request.match_info["name"] != "Qwen2.5-7B-Instruct-GGUF":
            return web.json_response({"error": "gone"}, status=404, headers={"X-Error-Code": "RepoNotFound"})
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                "lfs": {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)},
            }
            for name, data in PARTS.items()
        ]
        for sibling in siblings:
            sibling["lfs"]["pointerSize"] = 1  # type: ignore[index]  # -- a map, see above
        return web.json_response({"id": QWEN.name, "sha": COMMIT, "siblings": [*siblings, {"rfilename": "README.md"}]})

    async def file(self, request: web.Request) -> web.Response:
        """Give a file."""
        self.headers_seen.append(request.headers.get("Authorization", ""))
        assert request.match_info["revision"] == COMMIT
        data = self.content[request.match_info["file"]]
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
        return web.Response(body=data, headers=headers)


@pytest.fixture
async def hub() -> AsyncIterator[tuple[Hub, str]]:
    """A running server and its URL."""
    server = Hub()
    runner = web.AppRunner(server.app())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield server, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_model_is_pulled_from_a_hub(hub: tuple[Hub, str], tmp_path: Path) -> None:
    """Both parts arrive, the commit is locked, progress is drawn, and no token is sent."""
    server, url = hub
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Progress(console=console) as progress:
        paths = await asyncio.to_thread(pull, QWEN, tmp_path, choose_remote(url, progress))
        assert [task.completed for task in progress.tasks] == [300_000, 300_000]
    assert [path.read_bytes() for path in paths] == list(PARTS.values())
    locked = ModelLock(tmp_path).get(QWEN.name)
    assert locked is not None
    assert locked.revision == COMMIT
    assert set(server.headers_seen) == {""}


async def test_a_hub_that_lies_is_noticed(hub: tuple[Hub, str], tmp_path: Path) -> None:
    """Other bytes than the listed digest."""
    server, url = hub
    server.content = {name: bytes(300_000) for name in PARTS}
    with pytest.raises(DigestMismatch):
        await asyncio.to_thread(pull, QWEN, tmp_path, choose_remote(url))


async def test_a_gated_repository_is_a_matter_for_its_user(hub: tuple[Hub, str]) -> None:
    """gpunode has no account there; the message says what to do."""
    with pytest.raises(DownloadFailed, match=r"accepted its licence.*FOLDER/Qwen/gated"):
        await asyncio.to_thread(choose_remote(hub[1]).files, "Qwen/gated", None)


async def test_a_missing_repository_is_named(hub: tuple[Hub, str]) -> None:
    """The message is for users."""
    with pytest.raises(DownloadFailed, match="no public repository Qwen/gone"):
        await asyncio.to_thread(HubRemote(hub[1]).files, "Qwen/gone", None)


async def test_an_unreachable_hub_tells_about_mirrors(unused_tcp_port: int) -> None:
    """The next step stands in the message."""
    with pytest.raises(DownloadFailed, match="GPUNODE_MODEL_MIRROR"):
        await asyncio.to_thread(HubRemote(f"http://127.0.0.1:{unused_tcp_port}").files, QWEN.name, None)


def _mirror(root: Path) -> Path:
    folder = root / "mirror" / "Qwen" / "Qwen2.5-7B-Instruct-GGUF"
    folder.mkdir(parents=True)
    for name, data in PARTS.items():
        (folder / name).write_bytes(data)
    return root / "mirror"


def test_a_folder_can_be_the_mirror(tmp_path: Path) -> None:
    """Machines without network pull from a disk."""
    remote = choose_remote(str(_mirror(tmp_path)))
    assert isinstance(remote, FolderRemote)
    paths = pull(QWEN, tmp_path / "models", remote)
    assert [path.read_bytes() for path in paths] == list(PARTS.values())


def test_a_copy_from_a_folder_is_shown(tmp_path: Path) -> None:
    """With a bar for each file, as a download."""
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Progress(console=console) as progress:
        pull(QWEN, tmp_path / "models", choose_remote(str(_mirror(tmp_path)), progress))
        assert [(task.completed, task.total) for task in progress.tasks] == [(300_000, 300_000)] * 2


def test_an_interrupted_copy_goes_on(tmp_path: Path) -> None:
    """The finished file stays as it is, the unfinished one is completed, and nothing else is left."""
    folder, (first, second) = tmp_path / "models" / QWEN.stored_as, PARTS
    part = partial_path(folder, "local", second)
    part.parent.mkdir(parents=True)
    (folder / first).write_bytes(PARTS[first])
    part.write_bytes(PARTS[second][:100_000])
    files = [(folder / first).stat().st_ino, part.stat().st_ino]
    paths = pull(QWEN, tmp_path / "models", FolderRemote(_mirror(tmp_path)))
    assert [path.read_bytes() for path in paths] == list(PARTS.values())
    assert [path.stat().st_ino for path in paths] == files
    assert not part.parent.exists()


async def test_what_came_from_a_folder_is_repaired_from_there(hub: tuple[Hub, str], tmp_path: Path) -> None:
    """A hub has no revision "local": the message says where the files are, or how to start anew."""
    mirror, models = _mirror(tmp_path), tmp_path / "models"
    paths = pull(QWEN, models, FolderRemote(mirror))
    damaged = bytes(300_000)
    paths[1].write_bytes(damaged)
    with pytest.raises(DownloadFailed, match=r"pulled from a folder.*GPUNODE_MODEL_MIRROR.*models remove qwen2\.5-7b"):
        await asyncio.to_thread(pull, QWEN, models, choose_remote(hub[1]))
    assert paths[1].read_bytes() == damaged
    pull(QWEN, models, FolderRemote(mirror))
    assert paths[1].read_bytes() == PARTS[paths[1].name]


def test_a_mirror_keeps_folders_and_follows_no_link_out(tmp_path: Path) -> None:
    """A model of several folders arrives as it is; a link to somebody's file elsewhere is not part of it."""
    mirror = _mirror(tmp_path)
    folder = mirror / "Qwen" / "Qwen2.5-7B-Instruct-GGUF"
    (folder / "unet").mkdir()
    (folder / "unet" / "part.safetensors").write_bytes(b"u")
    (tmp_path / "secret").write_bytes(b"key")
    (folder / "link.gguf").symlink_to(tmp_path / "secret")
    remote = FolderRemote(mirror)
    _, offered = remote.files("Qwen/Qwen2.5-7B-Instruct-GGUF", None)
    assert {file.name for file in offered} == {*PARTS, "unet/part.safetensors"}
    path = remote.download("Qwen/Qwen2.5-7B-Instruct-GGUF", "local", "unet/part.safetensors", tmp_path / "m")
    assert path == tmp_path / "m" / "unet" / "part.safetensors"
    assert path.read_bytes() == b"u"


def test_a_folder_without_the_model_is_an_error(tmp_path: Path) -> None:
    """Neither the repository nor a file may be missing."""
    with pytest.raises(DownloadFailed, match="no folder"):
        FolderRemote(tmp_path).files("Qwen/gone", None)
    with pytest.raises(DownloadFailed, match="cannot be copied"):
        FolderRemote(tmp_path).download("Qwen/gone", "local", "x.gguf", tmp_path)


def test_without_a_mirror_the_public_hub_is_used() -> None:
    """The default needs no setting."""
    assert isinstance(choose_remote(""), HubRemote)
