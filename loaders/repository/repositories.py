"""Where a dataset repository is that a user named: a folder, or a repository on the Hub, which is fetched whole."""

from __future__ import annotations

from pathlib import Path

from nas360.errors import DatasetError, HubError
from nas360.hub import named_revision, told


def find_repository(source: str | Path) -> tuple[Path, bool]:
    """The folder of a dataset repository, with all its files.

    Args:
        source: a folder, or, where there is none, a Hub repository (`"org/name"` or `"org/name@revision"`; without a
            revision the newest one).

    Returns:
        The folder, and whether it belongs to the user (True) or to the Hub's cache, where nothing must be written.

    Raises:
        DatasetError: it is neither a folder nor a name that a repository can have.
        HubError: the Hub does not give it.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder, True
    named = named_revision(str(source))
    if folder.exists() or named is None:
        raise DatasetError(f"{source} is neither a folder nor the name of a Hub repository (ORG/NAME). Check it")
    from huggingface_hub import HfApi

    api = HfApi()
    repo, revision = named
    try:
        with told(api, "download", repo):
            return Path(api.snapshot_download(repo, repo_type="dataset", revision=revision or None)), False
    except HubError as cause:
        raise HubError(f"there is no folder {source} here, and {cause}") from cause
