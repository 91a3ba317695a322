"""Where a dataset repository is that a user named: a folder, or a repository on the Hub, which is fetched whole."""

from __future__ import annotations

import re
from pathlib import Path

from nas360.errors import DatasetError
from nas360.hub import told

_NAME = re.compile(r"^[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?$")


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
    if folder.exists() or not _NAME.match(str(source)):
        raise DatasetError(f"{source} is neither a folder nor the name of a Hub repository (ORG/NAME). Check it")
    from huggingface_hub import HfApi

    api = HfApi()
    repo, _, revision = str(source).partition("@")
    with told(api, "download", repo):
        return Path(api.snapshot_download(repo, repo_type="dataset", revision=revision or None)), False
