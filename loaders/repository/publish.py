"""A prepared dataset repository to the Hub: checked, in one commit or one pull request, and tagged."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas360.errors import DatasetError, HubError, UserError, first_faults
from nas360.hub import (
    OFFICIAL_NAMESPACE,
    Change,
    Commit,
    changes,
    check_repo_id,
    commit,
    endpoint,
    hub_api,
    is_loopback,
    told,
)
from nas360.loaders.base import Task
from nas360.loaders.repository.manifest import Manifest, read_manifest
from nas360.task import Provenance

if TYPE_CHECKING:
    from huggingface_hub import HfApi

BESIDE = ("CHANGELOG.md", "LICENSE")
"""Files that a repository may hold beside those that nas360 writes."""

# A shard that a new version no longer has would go on being read as data, and an old audit would be believed, so they
# must go; other files are let be, for instance pictures of the card that somebody added by hand.
_OWN = re.compile(r".*\.parquet|audit\.json")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Publication:
    """What was published, or (dry run) would be.

    Attributes:
        task: the task's id.
        repo: the Hub repository.
        provenance: how the data was made.
        files: path → bytes, of everything the repository holds.
        uploaded: paths that were new or different; of a dry run, which asks nobody, all.
        deleted: paths that had to go.
        commit: the commit that now holds the files; None for a dry run.
        tag: the tag that names it.
        private: whether the repository is private; None for a dry run.
        dry_run: whether nothing was sent.
        warnings: what the user should know.
    """

    task: str
    repo: str
    provenance: Provenance
    files: dict[str, int]
    uploaded: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    commit: Commit | None = None
    tag: str | None = None
    private: bool | None = None
    dry_run: bool = False
    warnings: tuple[str, ...] = field(default=())

    def public(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "task": self.task,
            "repo": self.repo,
            "endpoint": endpoint(),
            "provenance": self.provenance,
            "commit": self.commit.oid if self.commit else None,
            "url": self.commit.url if self.commit else None,
            "changed": self.commit.changed if self.commit else None,
            "pull_request": self.commit.pull_request if self.commit else None,
            "revision": self.commit.revision if self.commit else None,
            "tag": self.tag,
            "private": self.private,
            "dry_run": self.dry_run,
            "files": self.files,
            "uploaded": list(self.uploaded),
            "deleted": list(self.deleted),
            "warnings": list(self.warnings),
        }


def publish(
    task: Task,
    folder: Path,
    repo: str | None = None,
    *,
    private: bool = False,
    create_pr: bool = False,
    tag: str | None = None,
    message: str | None = None,
    dry_run: bool = False,
    report: Callable[[str], None] = lambda step: None,
) -> Publication:
    """Publish a dataset repository that `prepare` made.

    Everything that can be refused is refused before anything is sent. The files go up in one commit, so that nobody
    loads half of it; files that are there already are not sent again.

    Args:
        task: the task that the folder must hold.
        folder: the dataset repository.
        repo: `owner/name` on the Hub; the task's own by default. Made if it is not there.
        private: the repository must be private; it is made so.
        create_pr: open a pull request instead of changing `main`.
        tag: name that the published state gets; a name that is taken by other content is refused.
        message: first line of the commit.
        dry_run: check and list only; needs neither network nor token.
        report: called with every step.

    Returns:
        What was published.

    Raises:
        DatasetError: when the folder is no whole dataset of the task.
        UserError: when what is asked cannot be.
        HubError: when nobody is logged in, or the Hub cannot be reached or refuses.
    """
    name = check_repo_id(task.spec.repo if repo is None else repo)
    _check_tag(tag, create_pr)
    manifest = read_manifest(folder)
    if manifest.task != task.spec.id:
        raise DatasetError(f"{folder} holds the task {manifest.task!r}, not {task.spec.id!r}. Check the two")
    _check_provenance(manifest, name)
    files = _files(folder, task, manifest)
    warnings = _verified(folder, report)
    if name == task.spec.repo and tag is None and not create_pr:
        warnings.append(f"nas360 reads {name} at the tag {task.spec.revision}, which this does not set. See --tag")
    planned = Publication(
        task=task.spec.id,
        repo=name,
        provenance=manifest.provenance,
        files={path: file.stat().st_size for path, file in files.items()},
        warnings=tuple(warnings),
    )
    if dry_run:
        return _with(planned, uploaded=tuple(files), dry_run=True, tag=tag)
    api = hub_api()
    report(f"look at {name}")
    head, is_private = _open(api, name, private)
    tagged = tag is not None and _is_tagged(api, name, tag, files)
    change = changes(api, name, "dataset", head, files, _OWN)
    report(f"upload {len(change.upload)} of {len(files)} files to {name}")
    made = _commit(api, name, head, change, files, message or _message(manifest, tag), create_pr)
    if tag is not None and not tagged:
        with told(api, f"set the tag {tag} of", name):
            api.create_tag(name, tag=tag, revision=made.oid, repo_type="dataset")
    return _with(planned, uploaded=change.upload, deleted=change.delete, commit=made, tag=tag, private=is_private)


def _with(publication: Publication, **changed: Any) -> Publication:
    from dataclasses import replace

    return replace(publication, **changed)


def _check_tag(tag: str | None, create_pr: bool) -> None:
    if tag is None:
        return
    if create_pr:
        raise UserError(
            "--tag and --create-pr exclude each other: a tag names what is on main. Merge the pull request, then "
            "publish the same folder with --tag: it uploads nothing and sets the tag"
        )
    if not _TAG.fullmatch(tag) or ".." in tag or tag.endswith((".", ".lock")) or tag == "main":
        raise UserError(f"{tag[:120]!r} cannot be a tag. Give letters, digits, dots and dashes, for instance v1.0.0")


def _check_provenance(manifest: Manifest, repo: str) -> None:
    """Refuse anything but official data where users expect it; elsewhere `verify` warns."""
    # a Hub on this machine is for trying things out, and is nobody's official one
    official = repo.split("/")[0].lower() == OFFICIAL_NAMESPACE and not is_loopback()
    if official and manifest.provenance != "official":
        why = f" ({'; '.join(manifest.departures[:3])})" if manifest.departures else ""
        raise DatasetError(
            f"this data is {manifest.provenance}, not the official distribution{why}, and {OFFICIAL_NAMESPACE}/ holds "
            f"official data only. Publish it under a name of your own with --repo OWNER/NAME"
        )


def _files(folder: Path, task: Task, manifest: Manifest) -> dict[str, Path]:
    """Path in the repository → file: what nas360 writes, what may stand beside it, and all data files.

    Raises:
        DatasetError: when one is missing, or is a link.
    """
    from nas360.loaders.repository.texts import AUDIT
    from nas360.loaders.repository.verify import expected_texts

    names = [*expected_texts(folder, task, manifest), *(file.path for file in manifest.all_files())]
    names += [name for name in (AUDIT, *BESIDE) if name not in names and (folder / name).exists()]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise DatasetError(f"{folder} lacks {', '.join(first_faults(missing))}. Prepare the dataset anew")
    root = folder.resolve()
    links = [name for name in names if (folder / name).resolve() != root / name]
    if links:  # else a folder from elsewhere could have any file of this machine published
        raise DatasetError(f"{folder}: {', '.join(first_faults(links))} is a link. Publish a folder of plain files")
    return {name: folder / name for name in names}


def _verified(folder: Path, report: Callable[[str], None]) -> list[str]:
    """The warnings of `verify`.

    Raises:
        DatasetError: when it finds errors.
    """
    from nas360.loaders.repository.verify import verify

    faults = verify(folder, report=lambda step, done, total: report(f"verify: {step}"))
    errors = [f"{fault.message} ({fault.code})" for fault in faults if fault.severity == "error"]
    if errors:
        raise DatasetError(
            f"{folder} is not as it must be, so it is not published:\n"
            + "\n".join(f"- {fault}" for fault in first_faults(errors))
        )
    return [f"{fault.message} ({fault.code})" for fault in faults]


def _open(api: HfApi, repo: str, private: bool) -> tuple[str, bool]:
    """Make the repository if it is not there; its last commit, and whether it is private."""
    with told(api, "create", repo):
        # None lets the owner's default stand
        api.create_repo(repo, repo_type="dataset", private=private or None, exist_ok=True)
    with told(api, "look at", repo):
        info = api.dataset_info(repo, revision="main")
    if info.sha is None:
        raise HubError(f"{endpoint()} does not say which commit {repo} is at. Check HF_ENDPOINT")
    if private and not info.private:
        raise UserError(
            f"{repo} is there already and public, so --private cannot hold. Make it private in its settings "
            f"({endpoint()}/datasets/{repo}/settings), or give another --repo"
        )
    return info.sha, bool(info.private)


def _is_tagged(api: HfApi, repo: str, tag: str, files: dict[str, Path]) -> bool:
    """Whether the tag is there already.

    Raises:
        HubError: when it is, and names another content.
    """
    with told(api, "list the tags of", repo):
        target = {ref.name: ref.target_commit for ref in api.list_repo_refs(repo, repo_type="dataset").tags}.get(tag)
    if target is None:
        return False
    change = changes(api, repo, "dataset", target, files, _OWN)
    if change:
        what = ", ".join(first_faults([*change.upload, *change.delete])[:5])
        raise HubError(
            f"{repo} has a tag {tag} already, at {target[:12]}, with other content ({what}). What is tagged is never "
            f"changed, for results refer to it. Give a new --tag"
        )
    return True


def _commit(
    api: HfApi, repo: str, head: str, change: Change, files: dict[str, Path], message: str, create_pr: bool
) -> Commit:
    if not change:
        return Commit(head, f"{endpoint()}/datasets/{repo}/commit/{head}", changed=False)
    return commit(
        api, repo, "dataset", change, files, message=message, create_pr=create_pr, parent=None if create_pr else head
    )


def _message(manifest: Manifest, tag: str | None) -> str:
    kind = "" if manifest.provenance == "official" else f" ({manifest.provenance} data)"
    return (
        f"{manifest.task}{f' {tag}' if tag else ''}: protocol {manifest.protocol}, nas360 {manifest.nas360_version}, "
        f"content {manifest.content_sha256[:12]}{kind}"
    )
