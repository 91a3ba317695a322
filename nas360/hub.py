"""The Hugging Face Hub: who we are there, one commit or pull request of files, and its errors in words.

The token comes from the environment (`HF_TOKEN`) or from `hf auth login`, never from an option, and never enters a
message: whatever an error says is cleaned of it before it is shown.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from nas360.errors import HubError, UserError
from nas360.files import sha256_file
from nas360.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import HfApi

OFFICIAL_NAMESPACE = "nas360"
"""Owner of the datasets that this package reads by default."""

RepoKind = Literal["dataset", "space", "model"]

_SHOWN = 300
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9_]{8,}")
_PASSWORD = re.compile(r"//[^/@\s]*@")
_REVISION = re.compile(r"([\w-][\w.-]*/[\w.-]+)(?:@([\w./-]+))?")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Commit:
    """What a change of a repository came to.

    Attributes:
        oid: the commit that now holds the files.
        url: where it can be seen.
        changed: whether it is new; False when the repository held the same files already.
        pull_request: where the pull request can be seen, if one was opened.
        revision: what to read it by: `"main"`, or `"refs/pr/N"`.
    """

    oid: str
    url: str
    changed: bool
    pull_request: str | None = None
    revision: str = "main"


@dataclass(frozen=True)
class Change:
    """What makes a repository hold given files.

    Attributes:
        upload: paths in the repository of files that are new or differ there.
        delete: paths that have to go.
    """

    upload: tuple[str, ...]
    delete: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.upload or self.delete)


def endpoint() -> str:
    """The Hub's address, as `HF_ENDPOINT` sets it; without a password, should it hold one."""
    from huggingface_hub import constants

    return _PASSWORD.sub("//", constants.ENDPOINT)


def is_loopback() -> bool:
    """Whether the Hub is a server on this machine, as tests and trials use."""
    return urlsplit(endpoint()).hostname in ("127.0.0.1", "localhost", "::1")


def check_repo_id(repo: str) -> str:
    """The name, if it can be one of a repository.

    Raises:
        UserError: when it is not `owner/name`.
    """
    if not _REPO.fullmatch(repo) or ".." in repo or "--" in repo or repo.endswith((".git", "-", ".")):
        raise UserError(f"{repo!r} is not the name of a repository. Give it as OWNER/NAME, for instance my-lab/ecg")
    return repo


def named_revision(source: str) -> tuple[str, str] | None:
    """Repository and revision (empty where none is given) of `owner/name` or `owner/name@revision`; None for others.

    Example:
        >>> named_revision("nas360/ecg@v1.0.0"), named_revision("my-lab/ecg"), named_revision("data/of/ecg")
        (('nas360/ecg', 'v1.0.0'), ('my-lab/ecg', ''), None)
    """
    found = _REVISION.fullmatch(source)
    return (found[1], found[2] or "") if found else None


def hub_api() -> HfApi:
    """A client that acts for the user.

    Raises:
        HubError: when the Hub may not be asked, or nobody is logged in.
    """
    from huggingface_hub import HfApi, constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise HubError("HF_HUB_OFFLINE is set, so the Hub is not asked. Unset it and run again")
    with told(None, "look up the token for", "your account"):
        token = get_token()
    if token is None:
        raise HubError(
            f"nobody is logged in at {endpoint()}. Log in with `hf auth login`, or set the environment variable "
            f"HF_TOKEN to a token that may write (made at {endpoint()}/settings/tokens)"
        )
    if not re.fullmatch(r"[\x21-\x7e]+", token):  # the client would print it when it refuses to send it
        raise HubError(
            "the token in HF_TOKEN, or of `hf auth login`, holds spaces or signs that no token has. Set it anew"
        )
    return HfApi(token=token, library_name="nas360", library_version=__version__)


@contextmanager
def told(api: HfApi | None, what: str, repo: str) -> Iterator[None]:
    """Turn whatever a call of the Hub's client raises into a `HubError` that says what to do.

    Args:
        api: the client that is called; its token is kept out of the message.
        what: what is attempted, to follow "cannot": `"create"`, `"tag"`…
        repo: name of the repository, for the message.

    Raises:
        HubError: in place of errors of the network, of the Hub, and of answers that no Hub gives.
    """
    httpx = _httpx()
    try:
        yield
    except UserError:
        raise
    # httpx for the network; OSError and RuntimeError are how the client wraps it; the other two come of
    # answers that are not the Hub's, for instance of a proxy that asks for a password
    except (httpx.HTTPError, httpx.InvalidURL, OSError, RuntimeError, ValueError, KeyError) as cause:
        token = api.token if api is not None and isinstance(api.token, str) else None
        error = HubError(_explain(cause, what, repo, token))
        whole = "".join(traceback.format_exception(cause))
        # a traceback shows the cause too, and it must not show the token
        raise error from (cause if _without_token(whole, token) == whole else None)


def _explain(raised: BaseException, what: str, repo: str, token: str | None) -> str:
    httpx = _httpx()
    chain = [raised]
    while (inner := chain[-1].__cause__) is not None:  # an upload's error comes wrapped by the thread that made it
        chain.append(inner)
    answered = next((one for one in chain if getattr(one, "response", None) is not None), None)
    status = getattr(getattr(answered, "response", None), "status_code", None)
    said = getattr(answered, "server_message", None) or ": ".join(dict.fromkeys(filter(None, map(str, chain))))
    line = re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", _without_token(said, token))
    reason = line.strip()[:_SHOWN] or type(raised).__name__
    begin = f"cannot {what} {repo} at {endpoint()}"
    if status == 401:
        return (
            f"{begin}: the token is not accepted, or may not see it ({reason}). Log in again with `hf auth login`, or "
            f"set HF_TOKEN to a valid token that may write"
        )
    if status == 403:
        return (
            f"{begin}: the token may not do this ({reason}). Log in with `hf auth login`, or set HF_TOKEN, as somebody "
            f"who may write to {repo.split('/')[0]!r}; or name a repository of your own, or open a pull request"
        )
    if status == 404:
        return f"{begin}: not found ({reason}). Check the name, and that your token may see it"
    if status in (409, 412):
        return f"{begin}: it was changed by somebody else at the same moment ({reason}). Run again"
    if status == 429:
        return f"{begin}: too many requests ({reason}). Wait some minutes and run again"
    if status is not None and status >= 500:
        return f"{begin}: the Hub is in trouble (HTTP {status}: {reason}). Run again later; what is uploaded is kept"
    if any(isinstance(one, httpx.TransportError | ConnectionError | TimeoutError) for one in chain):
        return (
            f"{begin}: no connection ({reason}). Check the network and HF_ENDPOINT, and run again; what is uploaded "
            f"is kept"
        )
    code = f"HTTP {status}: " if status is not None else ""
    return (
        f"{begin}: the Hub refuses it, or its answer is none of a Hub ({code}{reason}). Check HF_ENDPOINT and the files"
    )


def _httpx() -> Any:
    """The HTTP library of the Hub's client, which has another name in each of its lines and is handed on by it."""
    import huggingface_hub.utils

    return getattr(huggingface_hub.utils, "httpx")  # noqa: B009  # made when asked for, so that no type checker sees it


def _without_token(text: str, token: str | None) -> str:
    """Text without the token, anything that looks like one, and passwords in addresses."""
    return _PASSWORD.sub("//", _TOKEN.sub("hf_…", text.replace(token, "hf_…") if token else text))


def changes(
    api: HfApi, repo: str, kind: RepoKind, revision: str, files: Mapping[str, Path], own: re.Pattern[str]
) -> Change:
    """What differs between a revision of a repository and files on this machine.

    Args:
        api: the client.
        repo: the repository.
        kind: its type.
        revision: branch, tag or commit.
        files: path in the repository → file.
        own: matches the paths that must not be there unless they are among `files`; others are let be.

    Raises:
        HubError: when the Hub cannot be asked.
    """
    from huggingface_hub.hf_api import RepoFile

    with told(api, "list the files of", repo):
        tree = api.list_repo_tree(repo, repo_type=kind, revision=revision, recursive=True)
        there = {entry.path: entry for entry in tree if isinstance(entry, RepoFile)}
    different = []
    for name, path in files.items():
        known = there.get(name)
        if known is None or known.size != path.stat().st_size:
            different.append(name)
        elif known.lfs is not None:
            if known.lfs.sha256 != sha256_file(path):
                different.append(name)
        elif known.blob_id != _git_oid(path):
            different.append(name)
    return Change(tuple(different), tuple(name for name in there if name not in files and own.fullmatch(name)))


def _git_oid(path: Path) -> str:
    content = path.read_bytes()
    return sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def commit(
    api: HfApi,
    repo: str,
    kind: RepoKind,
    change: Change,
    files: Mapping[str, Path],
    *,
    message: str,
    description: str = "",
    create_pr: bool = False,
    parent: str | None = None,
) -> Commit:
    """Make one commit of a change, or one pull request; no reader ever sees a part of it.

    Args:
        api: the client.
        repo: the repository, which must be there.
        kind: its type.
        change: what is uploaded and deleted; not empty.
        files: path in the repository → file.
        message: first line of the commit.
        description: further lines.
        create_pr: open a pull request instead of changing `main`.
        parent: the commit that `main` must still be at, else nothing is done.

    Raises:
        HubError: when the Hub cannot be reached or refuses.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    operations: list[CommitOperationAdd | CommitOperationDelete] = [
        CommitOperationDelete(path_in_repo=name, is_folder=False) for name in change.delete
    ]
    operations += [CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(files[name])) for name in change.upload]
    with told(api, "open a pull request at" if create_pr else "commit to", repo):
        made = api.create_commit(
            repo,
            operations,
            repo_type=kind,
            commit_message=message,
            commit_description=description,
            create_pr=create_pr,
            parent_commit=parent,
        )
    revision = (made.pr_revision if create_pr else None) or "main"
    return Commit(made.oid, made.commit_url, True, made.pr_url, revision)
