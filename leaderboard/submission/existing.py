"""Entries that are there already: what a new one must not replace or repeat."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas360.errors import HubError, ResultError, first_faults
from nas360.hub import endpoint, told
from nas360.leaderboard.submission.entries import RESULT, ROOT, safe_name
from nas360.results import MAX_BYTES, ResultFile, SeedRow, load_result

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Run = tuple[object, ...]

MAX_COMPARED = 500
"""Entries of one method that are read to see whether a run stands there already."""


def existing_files(folder: Path, names: Iterable[str]) -> set[str]:
    """Which of the names a folder has.

    Raises:
        ResultError: a name is there as a folder or a link.
    """
    there = {name for name in names if (folder / name).exists() or (folder / name).is_symlink()}
    root = folder.resolve()
    odd = [name for name in there if not (folder / name).is_file() or (folder / name).resolve() != root / name]
    if odd:
        raise ResultError(f"{folder}: {', '.join(first_faults(sorted(odd)))} is no plain file. Give another --out")
    return there


def existing_entries(api: HfApi, repo: str) -> tuple[str, dict[str, int]]:
    """The last commit of a repository of results, and the files of its entries with their sizes.

    Raises:
        HubError: the repository is not there, or the Hub cannot be asked.
    """
    from huggingface_hub.hf_api import RepoFile

    with told(api, "look at", repo):
        head = api.dataset_info(repo, revision="main").sha
    if head is None:
        raise HubError(f"{endpoint()} does not say which commit {repo} is at. Check HF_ENDPOINT")
    with told(api, "list the files of", repo):
        tree = api.list_repo_tree(repo, repo_type="dataset", revision=head, recursive=True)
        files = {entry.path: entry.size for entry in tree if isinstance(entry, RepoFile)}
    return head, {path: size for path, size in files.items() if path.startswith(f"{ROOT}/")}


def refuse_taken(where: str, names: Collection[str]) -> None:
    """Raise when entries of these names are there with other content.

    Raises:
        ResultError: there is one.
    """
    if names:
        raise ResultError(
            f"{where} has other content under {', '.join(first_faults(sorted(names)))}. An entry is never replaced: "
            "give the new result a run_id of its own, or say in a pull request why the old one should go"
        )


def runs_of(content: ResultFile) -> dict[Run, str]:
    """What must not stand twice on a leaderboard → how to name it."""
    method = content.method
    return {
        (method.name, method.version, row.dataset.provenance, *row.key): (
            f"{method.name} {method.version} on {row.task}, seed {row.seed}, replicate {row.replicate}"
        )
        for row in content.results
        if isinstance(row, SeedRow)
    }


def refuse_runs_that_stand(
    api: HfApi,
    repo: str,
    head: str,
    there: Mapping[str, int],
    results: Sequence[ResultFile],
    own: Collection[str],
) -> None:
    """Raise when a repository has an entry with the same run under another id; the leaderboard would refuse the two.

    Args:
        api: the client.
        repo: the repository.
        head: its commit.
        there: its files, from `existing_entries`.
        results: the new entries.
        own: paths of the new entries, which are not compared with themselves.

    Raises:
        ResultError: there is one.
        HubError: an entry cannot be fetched.
    """
    new = {run: name for content in results for run, name in runs_of(content).items()}
    folders = {f"{ROOT}/{safe_name(content.method.name)}/" for content in results}
    near = [
        path
        for path, size in there.items()
        if path.endswith(f"/{RESULT}") and path.startswith(tuple(folders)) and path not in own and size <= MAX_BYTES
    ]
    twice = []
    with tempfile.TemporaryDirectory(prefix="nas360-entries-") as folder:
        for path in sorted(near)[:MAX_COMPARED]:
            with told(api, f"read {path} of", repo):
                file = api.hf_hub_download(repo, path, repo_type="dataset", revision=head, local_dir=folder)
            try:
                old = runs_of(load_result(Path(file)))
            except ResultError:  # a fault of an entry that is there is not the submitter's
                continue
            twice += [f"{new[run]} ({path})" for run in old if run in new]
    if twice:
        raise ResultError(
            f"{repo} has these runs already: {'; '.join(first_faults(twice))}. Submit the ones it lacks, number "
            "`replicate`, or give the method a new version"
        )
