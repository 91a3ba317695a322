"""Where a dataset repository is that a user named: a folder, or a repository on the Hub, which is fetched whole."""

from __future__ import annotations

import re
from pathlib import Path

from nas360.errors import DatasetError

_NAME = re.compile(r"^[\w-][\w.-]*/[\w.-]+(@[\w./-]+)?$")


def find_repository(source: str | Path) -> tuple[Path, bool]:
    """The folder of a dataset repository, with all its files.

    Args:
        source: a folder, or, where there is none, a Hub repository (`"org/name"` or `"org/name@revision"`; without a
            revision the newest one).

    Returns:
        The folder, and whether it belongs to the user (True) or to the Hub's cache, where nothing must be written.

    Raises:
        DatasetError: when neither is there.
    """
    folder = Path(source).expanduser()
    if folder.exists() or not _NAME.match(str(source)):
        if not folder.is_dir():
            raise DatasetError(f"{source} is neither a folder nor the name of a Hub repository (ORG/NAME). Check it")
        return folder, True
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repo, _, revision = str(source).partition("@")
    try:
        return Path(snapshot_download(repo, repo_type="dataset", revision=revision or None)), False
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as cause:
        reason = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        raise DatasetError(
            f"there is no folder {source}, and the Hub does not give the repository {source} ({reason}). Give a folder "
            f"that `nas360 prepare` made, or check the name and the connection"
        ) from cause
