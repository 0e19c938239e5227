"""Where weights come from: a model hub through huggingface_hub, or a folder laid out as ``OWNER/REPO/FILE``."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gpunode_engines.download_display import DownloadDisplay
from gpunode_engines.errors import DownloadFailed
from gpunode_engines.fetch import Remote, RemoteFile
from gpunode_engines.folder_copy import copy_file
from gpunode_engines.hub_download import RangeDownload, partial_path
from gpunode_engines.model_lock import LOCAL_REVISION


class FolderRemote:
    """A folder that mirrors repositories. Implements ``Remote``."""

    def __init__(self, root: Path, progress: DownloadDisplay | None = None) -> None:
        """Args: root: the folder. progress: entered by the caller, None = silent."""
        self._root = root
        self._progress = progress

    def knows(self, revision: str) -> bool:  # noqa: ARG002 -- a folder has no history; digests tell whether it fits
        """See ``Remote``."""
        return True

    def files(self, repo: str, revision: str | None) -> tuple[str, Sequence[RemoteFile]]:  # noqa: ARG002 -- a folder has no history
        """See ``Remote``."""
        folder = self._root / repo
        if not folder.is_dir():
            raise DownloadFailed(f"The mirror {self._root} has no folder {repo}.")
        found = [path for path in sorted(folder.rglob("*")) if path.is_file() and self._is_inside(path, folder)]
        return LOCAL_REVISION, [
            RemoteFile(path.relative_to(folder).as_posix(), path.stat().st_size, None) for path in found
        ]

    def download(self, repo: str, revision: str, name: str, folder: Path) -> Path:
        """See ``Remote``. What an earlier process copied is gone on with."""
        watch = _watch(self._progress, name)
        try:
            source, partial = self._root / repo / name, partial_path(folder, revision, name)
            return copy_file(source, folder / name, partial, watch)
        except OSError as error:
            raise DownloadFailed(f"{name} cannot be copied from the mirror {self._root}: {error.strerror}.") from error

    @staticmethod
    def _is_inside(path: Path, folder: Path) -> bool:
        """Whether a file, links followed, lies below a folder: a link must not carry others' files into a model."""
        return path.resolve().is_relative_to(folder.resolve())


class HubRemote:
    """A server that speaks the Hugging Face protocol. Implements ``Remote``; needs huggingface_hub (extra ``pull``)."""

    def __init__(self, endpoint: str | None, progress: DownloadDisplay | None = None) -> None:
        """Args: endpoint: URL, None = huggingface_hub's default. progress: entered by the caller, None = silent."""
        self._endpoint = endpoint
        self._progress = progress

    def knows(self, revision: str) -> bool:
        """See ``Remote``."""
        return revision != LOCAL_REVISION

    def files(self, repo: str, revision: str | None) -> tuple[str, Sequence[RemoteFile]]:
        """See ``Remote``."""
        from huggingface_hub import HfApi  # noqa: PLC0415 -- slow to import, and an optional dependency

        with _download_errors(repo):
            info = HfApi(endpoint=self._endpoint).model_info(repo, revision=revision, files_metadata=True, token=False)
            if info.sha is None:
                raise DownloadFailed(f"The hub names no revision of {repo}.")
            return info.sha, [
                RemoteFile(file.rfilename, file.size, file.lfs.sha256 if file.lfs else None)
                for file in info.siblings or ()
            ]

    def download(self, repo: str, revision: str, name: str, folder: Path) -> Path:
        """See ``Remote``. What an earlier process left unfinished is gone on with."""
        from huggingface_hub import hf_hub_url  # noqa: PLC0415 -- slow to import, and an optional dependency

        url = hf_hub_url(repo, name, revision=revision, endpoint=self._endpoint)
        watch = _watch(self._progress, name)
        with _download_errors(repo):
            return RangeDownload(url, folder / name, partial_path(folder, revision, name), watch).run()


def choose_remote(mirror: str, progress: DownloadDisplay | None = None) -> Remote:
    """Return where to pull from.

    Args:
        mirror: a URL that speaks the hub's protocol, a folder, or empty for the public hub.
        progress: where downloads are shown.
    """
    if mirror and "://" not in mirror:
        return FolderRemote(Path(mirror).expanduser(), progress)
    return HubRemote(mirror or None, progress)


def _watch(progress: DownloadDisplay | None, name: str) -> Callable[[int, int | None], None]:
    """Return what shows how much of a file is here."""
    task = progress.add_task(name, total=None) if progress is not None else None

    def watch(here: int, total: int | None) -> None:
        if progress is not None and task is not None:
            progress.update(task, completed=here, total=total)

    return watch


@contextmanager
def _download_errors(repo: str) -> Iterator[None]:
    """Map the hub library's errors, and those of its HTTP client, to ours."""
    from httpx2 import HTTPError  # noqa: PLC0415 -- huggingface_hub's HTTP client
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError  # noqa: PLC0415 -- see above

    try:
        yield
    except GatedRepoError as error:
        raise DownloadFailed(
            f"The hub gives {repo} only to accounts that accepted its licence. Download it with yours into a folder "
            f"FOLDER/{repo}, set GPUNODE_MODEL_MIRROR to FOLDER, and pull again."
        ) from error
    except RepositoryNotFoundError as error:
        raise DownloadFailed(f"The hub has no public repository {repo}.") from error
    except HfHubHTTPError as error:
        raise DownloadFailed(
            f"The hub refused to give {repo}: {error.response.status_code}. Try again later."
        ) from error
    except (HTTPError, OSError) as error:
        raise DownloadFailed(
            f"{repo} could not be downloaded ({type(error).__name__}). Check the network connection, or set "
            "GPUNODE_MODEL_MIRROR to a mirror's URL or a folder, and try again."
        ) from error
