"""Entries on their way: into a folder, or to the Hub as a pull request."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from nas360.errors import ResultError
from nas360.files import atomic_path, sha256_file, write_text
from nas360.hub import Change, Commit, changes, check_repo_id, commit, endpoint, hub_api
from nas360.leaderboard.submission.existing import (
    existing_entries,
    existing_files,
    refuse_runs_that_stand,
    refuse_taken,
)
from nas360.leaderboard.submission.submit import Submission
from nas360.version import __version__

_NOTHING = re.compile(r"(?!)")


def write_folder(submission: Submission, folder: Path) -> list[Path]:
    """Write the entries below a folder, in their layout. What is there already and equal is let be.

    Returns:
        The files.

    Raises:
        ResultError: an entry is there with other content; nothing is written then.
    """
    there = existing_files(folder, submission.files)
    refuse_taken(str(folder), {name for name in there if not _equal(folder / name, submission.files[name])})
    written = []
    for name, source in submission.files.items():
        path = folder / name
        written.append(path)
        if name in there:
            continue
        if isinstance(source, str):
            write_text(path, source)
        else:
            with atomic_path(path) as temporary:
                shutil.copyfile(source, temporary)
                _check_unchanged(temporary, name)
    return written


def _equal(path: Path, source: Path | str) -> bool:
    if isinstance(source, str):
        return path.read_bytes() == source.encode()
    return path.stat().st_size == source.stat().st_size and sha256_file(path) == sha256_file(source)


def send(submission: Submission, repo: str, create_pr: bool = True) -> Commit:
    """Offer the entries to a repository on the Hub, in one pull request or one commit.

    Args:
        submission: the entries.
        repo: `owner/name` of a dataset repository that is there. Results are data: such a repository takes pull
            requests, keeps every revision, and needs nothing built.
        create_pr: open a pull request; else change `main`.

    Returns:
        What was made. When the repository holds these entries already, nothing is, and `changed` is False.

    Raises:
        ResultError: the repository holds other entries under the same names, or the same runs.
        HubError: nobody is logged in, or the Hub cannot be reached or refuses.
    """
    check_repo_id(repo)
    api = hub_api()
    head, there = existing_entries(api, repo)
    with tempfile.TemporaryDirectory(prefix="nas360-submit-") as made:
        files = _as_files(submission.files.items(), Path(made))
        if there.keys() & files.keys():
            change = changes(api, repo, "dataset", head, files, _NOTHING)
        else:
            change = Change(tuple(files), ())
        if not change:
            return Commit(head, f"{endpoint()}/datasets/{repo}/commit/{head}", changed=False)
        refuse_taken(repo, set(change.upload) & there.keys())
        refuse_runs_that_stand(api, repo, head, there, submission.results, files)
        return commit(
            api,
            repo,
            "dataset",
            change,
            files,
            message=title(submission),
            description=description(submission),
            create_pr=create_pr,
            parent=None if create_pr else head,
        )


def _as_files(files: Iterable[tuple[str, Path | str]], folder: Path) -> dict[str, Path]:
    found = {}
    for number, (name, source) in enumerate(files):
        if isinstance(source, str):
            found[name] = folder / str(number)
            found[name].write_text(source, encoding="utf-8")
        else:
            _check_unchanged(source, name)
            found[name] = source
    return found


def _check_unchanged(path: Path, name: str) -> None:
    """Raise unless predictions are still those that were scored, after whose content they are named."""
    if sha256_file(path) != Path(name).stem:
        raise ResultError(f"{path}: changed after it was scored. Submit again")


def title(submission: Submission) -> str:
    """First line of the pull request."""
    methods = sorted({one.method.name for one in submission.results})
    tasks = {row.task for one in submission.results for row in one.results}
    names = ", ".join(methods[:3]) + (f" and {len(methods) - 3} more" if len(methods) > 3 else "")
    return f"{names}: {len(submission.rescored)} results on {len(tasks)} task{'s' if len(tasks) > 1 else ''}"


def description(submission: Submission, most: int = 100) -> str:
    """What the pull request says: a line a row. Holds ids and numbers, and no text of the submitter's."""
    lines = ["| method | task | seed | score | re-scored |", "| --- | --- | --- | --- | --- |"]
    for row in submission.rescored[:most]:
        score = "none" if row.old is None else repr(row.old)
        seed = "" if row.seed is None else row.seed
        lines.append(
            f"| `{row.method}` | `{row.task}` | {seed} | {score} | {'yes' if row.outcome == 'same' else 'no'} |"
        )
    if len(submission.rescored) > most:
        lines.append(f"\nand {len(submission.rescored) - most} more")
    lines.append(f"\nChecked by nas360 {__version__}; every row marked yes has the score that its predictions give.")
    return "\n".join(lines)
