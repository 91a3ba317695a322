"""A Hub on the loopback interface, in memory, for tests without a network.

It answers what huggingface_hub and datasets ask when they create a repository, upload, commit, tag, open a pull
request, list and load: the HTTP interface that these clients show in their sources. Tests see every request, and can
have some of them fail. `tests/conftest.py` gives it as the fixture `hub`.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

WRITE_TOKEN = "hf_loopbackWriteTokenOfTests"
READ_TOKEN = "hf_loopbackReadTokenOfTests"
_NOW = "2026-01-01T00:00:00.000Z"
_MAIN = "refs/heads/main"


@dataclass(frozen=True)
class File:
    """One file of a commit; `lfs` files stand in git as a pointer to their content."""

    content: bytes
    lfs: bool = False

    @property
    def sha256(self) -> str:
        return sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.content)}\n"
        return text.encode()

    @property
    def oid(self) -> str:
        """The object id that git gives the file, or its pointer."""
        stored = self.pointer if self.lfs else self.content
        return sha1(b"blob %d\0" % len(stored) + stored).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid


@dataclass(frozen=True)
class Commit:
    """A state of a repository."""

    files: Mapping[str, File]
    title: str
    parent: str | None

    @property
    def oid(self) -> str:
        tree = "".join(f"{path} {file.oid}\n" for path, file in sorted(self.files.items()))
        return sha1(f"{self.parent} {self.title}\n{tree}".encode()).hexdigest()


@dataclass
class Repo:
    """A repository: commits by id, and what refs name them. Made as the Hub makes it, with a first commit."""

    id: str
    type: str
    private: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        first = File(b"*.parquet filter=lfs diff=lfs merge=lfs -text\n")
        self.commit(_MAIN, Commit({".gitattributes": first}, "initial commit", None))

    def commit(self, ref: str, commit: Commit) -> str:
        self.commits[commit.oid] = commit
        self.refs[ref] = commit.oid
        return commit.oid

    def find(self, revision: str) -> str | None:
        """The commit of a branch, tag, full ref or commit id."""
        for ref in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if ref in self.refs:
                return self.refs[ref]
        return revision if revision in self.commits else None

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Path → content, as a test wants to see it."""
        oid = self.find(revision)
        assert oid is not None, f"no revision {revision} in {self.id}"
        return {path: file.content for path, file in self.commits[oid].files.items()}


@dataclass(frozen=True)
class Request:
    """What came, for the test that asks."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    @property
    def token(self) -> str | None:
        given = self.headers.get("authorization", "")
        return given.removeprefix("Bearer ") if given.startswith("Bearer ") else None


@dataclass(frozen=True)
class Answer:
    """A response; `status` 0 drops the connection without one."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """A request that is answered with an error, as the Hub words it."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        headers = {"X-Error-Message": message, "Content-Type": "application/json"}
        super().__init__(message)
        self.answer = Answer(
            status, json.dumps({"error": message}).encode(), headers | ({"X-Error-Code": code} if code else {})
        )


def _json(content: Any) -> Answer:
    return Answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})


class Hub:
    """The server and its state.

    Attributes:
        url: the endpoint, for `HF_ENDPOINT`.
        repos: "datasets/org/name" → repository.
        requests: every request, in order.
        foreign: namespaces in which the token may not write.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.requests: list[Request] = []
        self.foreign: set[str] = set()
        self._large: dict[str, bytes] = {}
        self._faults: list[tuple[re.Pattern[str], Callable[[Request], Answer]]] = []
        self._lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        """Answer no more; from now on nobody listens at the endpoint."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail(self, pattern: str, answer: Callable[[Request], Answer] | Answer) -> None:
        """From now on give this answer to requests whose "METHOD /path" matches the pattern."""
        self._faults.append((re.compile(pattern), answer if callable(answer) else lambda request: answer))

    def heal(self) -> None:
        """Forget all faults."""
        self._faults.clear()

    def dataset(self, name: str) -> Repo:
        return self.repos[f"datasets/{name}"]

    def answer(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            line = f"{request.method} {request.path}"
            for pattern, fault in self._faults:
                if pattern.search(line):
                    return fault(request)
            try:
                return self._route(request)
            except Refusal as refusal:
                return refusal.answer

    # what follows is the interface, from the specific to the general

    def _route(self, request: Request) -> Answer:
        if request.token not in (None, WRITE_TOKEN, READ_TOKEN):
            raise Refusal(401, "Invalid credentials in Authorization header")
        parts = [unquote(part) for part in request.path.strip("/").split("/")]
        method = "GET" if request.method == "HEAD" else request.method
        match (method, parts):
            case ("POST", ["api", "repos", "create"]):
                return self._create(request)
            case ("POST", ["api", "validate-yaml"]):
                return self._validate_yaml(request)
            case ("GET", ["api", "whoami-v2"]):
                self._need(request, write=False)
                return _json({"type": "user", "name": "tester", "orgs": [{"name": "nas360"}]})
            case ("PUT", ["lfs-storage", oid]):
                if sha256(request.body).hexdigest() != oid:
                    raise Refusal(400, "content does not have the announced SHA-256")
                self._large[oid] = request.body
                return Answer()
            case ("POST", ["datasets" | "spaces" as kind, org, name, "info", "lfs", "objects", "batch"]):
                self._repo(request, kind, f"{org}/{name.removesuffix('.git')}")
                return self._batch(request)
            case ("GET", ["datasets" | "spaces" as kind, org, name, "resolve", revision, *path]):
                return self._resolve(request, self._repo(request, kind, f"{org}/{name}"), revision, "/".join(path))
            case (_, ["api", "models" | "datasets" | "spaces" as kind, org, name, *rest]):
                return self._api(request, method, self._repo(request, kind, f"{org}/{name}"), rest)
        raise Refusal(404, "Sorry, we can't find the page you are looking for.")

    def _api(self, request: Request, method: str, repo: Repo, rest: list[str]) -> Answer:
        match (method, rest):
            case ("GET", []):
                return self._info(repo, "main")
            case ("GET", ["revision", revision]):
                return self._info(repo, revision)
            case ("GET", ["refs"]):
                return self._refs(repo, "include_prs" in request.query)
            case ("GET", ["tree", revision, *path]):
                recursive = request.query.get("recursive", ["false"])[0].lower() in ("true", "1")
                return self._tree(repo, revision, "/".join(path), recursive)
            case ("POST", ["paths-info", revision]):
                return self._paths_info(request, repo, revision)
            case ("POST", ["preupload", revision]):
                self._need(request, repo, pull_request="create_pr" in request.query)
                return self._preupload(request, repo, revision)
            case ("POST", ["commit", revision]):
                self._need(request, repo, pull_request="create_pr" in request.query)
                return self._commit(request, repo, revision)
            case ("POST", ["tag", revision]):
                self._need(request, repo)
                return self._tag(request, repo, revision)
        raise Refusal(404, "Not Found")

    def _need(
        self, request: Request, repo: Repo | None = None, *, write: bool = True, pull_request: bool = False
    ) -> None:
        """Refuse what the token may not do."""
        if request.token is None:
            raise Refusal(401, "Invalid username or password.")
        if write and request.token == READ_TOKEN:
            raise Refusal(403, "you must use a write token to upload to a repository.")
        if repo is not None and repo.id.split("/")[0] in self.foreign and not pull_request:
            raise Refusal(403, "Authorization error.")

    def _repo(self, request: Request, kind: str, name: str) -> Repo:
        repo = self.repos.get(f"{kind}/{name}")
        if repo is None or (repo.private and request.token is None):
            # the Hub does not tell a stranger whether a repository is private or absent
            raise Refusal(401 if request.token is None else 404, "Repository not found", "RepoNotFound")
        return repo

    @staticmethod
    def _at(repo: Repo, revision: str) -> tuple[str, Commit]:
        oid = repo.find(revision)
        if oid is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return oid, repo.commits[oid]

    def _create(self, request: Request) -> Answer:
        self._need(request)
        asked = json.loads(request.body)
        kind, owner = f"{asked.get('type', 'model')}s", asked.get("organization") or "tester"
        name = f"{owner}/{asked['name']}"
        url = f"{self.url}/{kind}/{name}"
        if f"{kind}/{name}" in self.repos:
            body = json.dumps({"error": f"You already created this {kind[:-1]} repo", "url": url}).encode()
            return Answer(409, body, {"Content-Type": "application/json"})
        if owner in self.foreign:
            raise Refusal(403, f"You don't have the rights to create a {kind[:-1]} under the namespace {owner!r}")
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.repos[f"{kind}/{name}"] = Repo(name, kind[:-1], private)
        return _json({"url": url, "name": name, "id": name})

    def _validate_yaml(self, request: Request) -> Answer:
        faults = []
        try:
            metadata = _front_matter(json.loads(request.body)["content"])
        except ValueError as fault:
            metadata, faults = {}, [str(fault)]
        if not faults and not isinstance(metadata.get("license", ""), str | list):
            faults = ['"license" must be a string']
        answer = {"errors": [{"message": fault} for fault in faults], "warnings": []}
        return Answer(400 if faults else 200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _preupload(self, request: Request, repo: Repo, revision: str) -> Answer:
        _, commit = self._at(repo, revision)
        answers = []
        for file in json.loads(request.body)["files"]:
            known = commit.files.get(file["path"])
            large = file["path"].endswith(".parquet") or file["size"] > 10_000_000
            answers.append(
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": False,
                    **({"oid": known.etag} if known else {}),
                }
            )
        return _json({"files": answers})

    def _batch(self, request: Request) -> Answer:
        self._need(request)
        objects: list[dict[str, Any]] = []
        for wanted in json.loads(request.body)["objects"]:
            entry = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self._large:
                entry["actions"] = {"upload": {"href": f"{self.url}/lfs-storage/{wanted['oid']}", "header": {}}}
            objects.append(entry)
        return _json({"transfer": "basic", "objects": objects})

    def _commit(self, request: Request, repo: Repo, revision: str) -> Answer:
        parent, before = self._at(repo, revision)
        files, header = dict(before.files), {"summary": ""}
        for line in request.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            match item["key"]:
                case "header":
                    header = value
                    if value.get("parentCommit", parent) != parent:
                        raise Refusal(412, "A commit has happened since. Please refresh and try again.")
                case "file":
                    files[value["path"]] = File(base64.b64decode(value["content"]))
                case "lfsFile":
                    if value["oid"] not in self._large:
                        raise Refusal(400, f"LFS pointer of {value['path']} points to a file that does not exist")
                    files[value["path"]] = File(self._large[value["oid"]], lfs=True)
                case "deletedFile":
                    if value["path"] not in files:
                        raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
                    del files[value["path"]]
                case "deletedFolder":
                    folder = value["path"].rstrip("/") + "/"
                    files = {path: file for path, file in files.items() if not path.startswith(folder)}
        pull_request = "create_pr" in request.query
        number = 1 + sum(ref.startswith("refs/pr/") for ref in repo.refs)
        ref = f"refs/pr/{number}" if pull_request else f"refs/heads/{revision}"
        oid = repo.commit(ref, Commit(files, header["summary"], parent))
        prefix = "" if repo.type == "model" else f"/{repo.type}s"
        where = f"{self.url}{prefix}/{repo.id}"
        answer = {"success": True, "commitOid": oid, "commitUrl": f"{where}/commit/{oid}", "hookOutput": ""}
        return _json(answer | ({"pullRequestUrl": f"{where}/discussions/{number}"} if pull_request else {}))

    def _tag(self, request: Request, repo: Repo, revision: str) -> Answer:
        oid, _ = self._at(repo, revision)
        ref = f"refs/tags/{json.loads(request.body)['tag']}"
        if ref in repo.refs:
            raise Refusal(409, "Tag reference exists already")
        repo.refs[ref] = oid
        return Answer()

    def _info(self, repo: Repo, revision: str) -> Answer:
        oid, commit = self._at(repo, revision)
        readme = commit.files.get("README.md")
        return _json(
            {
                "_id": oid[:24],
                "id": repo.id,
                "author": repo.id.split("/")[0],
                "sha": oid,
                "lastModified": _NOW,
                "createdAt": _NOW,
                "private": repo.private,
                "gated": False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "cardData": _front_matter(readme.content.decode()) if readme else {},
                "siblings": [{"rfilename": path} for path in sorted(commit.files)],
            }
        )

    @staticmethod
    def _refs(repo: Repo, pull_requests: bool) -> Answer:
        def named(prefix: str) -> list[dict[str, str]]:
            return [
                {"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": oid}
                for ref, oid in repo.refs.items()
                if ref.startswith(prefix)
            ]

        found = {"branches": named("refs/heads/"), "tags": named("refs/tags/"), "converts": []}
        return _json(found | ({"pullRequests": named("refs/pr/")} if pull_requests else {}))

    def _entry(self, path: str, file: File, oid: str, commit: Commit) -> dict[str, Any]:
        entry = {"type": "file", "path": path, "size": len(file.content), "oid": file.oid}
        entry["lastCommit"] = {"id": oid, "title": commit.title, "date": _NOW}
        if file.lfs:
            entry["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": len(file.pointer)}
        return entry

    def _folder(self, path: str, oid: str, commit: Commit) -> dict[str, Any]:
        last = {"id": oid, "title": commit.title, "date": _NOW}
        return {
            "type": "directory",
            "path": path,
            "size": 0,
            "oid": sha1(path.encode()).hexdigest(),
            "lastCommit": last,
        }

    def _tree(self, repo: Repo, revision: str, folder: str, recursive: bool) -> Answer:
        oid, commit = self._at(repo, revision)
        prefix = f"{folder}/" if folder else ""
        entries: dict[str, dict[str, Any]] = {}
        for path, file in sorted(commit.files.items()):
            if path.startswith(prefix):
                steps = path.removeprefix(prefix).split("/")
                for depth in range(1, len(steps) if recursive else min(len(steps), 2)):
                    above = prefix + "/".join(steps[:depth])
                    entries.setdefault(above, self._folder(above, oid, commit))
                if recursive or len(steps) == 1:
                    entries[path] = self._entry(path, file, oid, commit)
        if folder and not entries:
            raise Refusal(404, f"{folder} does not exist on {revision!r}", "EntryNotFound")
        return _json(list(entries.values()))

    def _paths_info(self, request: Request, repo: Repo, revision: str) -> Answer:
        oid, commit = self._at(repo, revision)
        if request.headers.get("content-type", "").startswith("application/json"):
            paths = json.loads(request.body)["paths"]
        else:
            paths = parse_qs(request.body.decode()).get("paths", [])
        found = []
        for path in paths:
            if path in commit.files:
                found.append(self._entry(path, commit.files[path], oid, commit))
            elif any(name.startswith(f"{path}/") for name in commit.files):
                found.append(self._folder(path, oid, commit))
        return _json(found)

    def _resolve(self, request: Request, repo: Repo, revision: str, path: str) -> Answer:
        oid, commit = self._at(repo, revision)
        headers = {"X-Repo-Commit": oid}
        file = commit.files.get(path)
        if file is None:
            refusal = Refusal(404, f"{path} does not exist", "EntryNotFound").answer
            return Answer(404, refusal.body, {**refusal.headers, **headers})
        headers |= {"ETag": f'"{file.etag}"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
        if asked is None or asked.groups() == ("", ""):
            return Answer(200, file.content, headers)
        size = len(file.content)
        if asked[1]:
            start, end = int(asked[1]), min(int(asked[2]) if asked[2] else size - 1, size - 1)
        else:
            start, end = max(0, size - int(asked[2])), size - 1
        if start >= size:
            return Answer(416, b"", {**headers, "Content-Range": f"bytes */{size}"})
        return Answer(206, file.content[start : end + 1], {**headers, "Content-Range": f"bytes {start}-{end}/{size}"})


def _front_matter(text: str) -> dict[str, Any]:
    import yaml

    found = re.match(r"---\r?\n(.*?)\r?\n---(\r?\n|$)", text, re.DOTALL)
    try:
        metadata = yaml.safe_load(found[1]) if found else {}
    except yaml.YAMLError as cause:
        raise ValueError(f"not YAML: {cause}") from cause
    if not isinstance(metadata, dict):
        raise ValueError("the front matter must be a mapping")
    return metadata


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    # headers and body in one packet, else every answer waits for the client's delayed acknowledgement
    wbufsize = -1
    disable_nagle_algorithm = True

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().split(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _serve(self) -> None:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = parse_qs(url.query, keep_blank_values=True)
        answer = self.hub.answer(Request(self.command, url.path, query, headers, self._body()))
        if answer.status == 0:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    do_GET = do_HEAD = do_POST = do_PUT = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet; `Hub.requests` has it all."""
