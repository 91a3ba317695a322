from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas360.errors import RawDataError
from nas360.loaders import TASKS
from nas360.loaders.prepare import prepare
from nas360.loaders.raw.download import download
from nas360.loaders.raw.transfer import Patience
from nas360.task import Source, TaskSpec

BODY = bytes(range(256)) * 9
QUICK = Patience(connect_s=10, silence_s=10, attempts=4, wait_s=0.001, longest_wait_s=0.01, chunk_bytes=64)


@dataclass
class Answer:
    """What the server does with one request.

    Attributes:
        status: of the answer.
        cut: bytes of the body after which the connection is closed; None sends all.
        reset: closes it by a reset.
        tag: entity tag of the file.
        ranges: whether ranges are served.
        trusting: whether If-Range is left unread.
        headers: further headers; an empty value takes a header away.
        body: another body than the server's.
        wait_s: seconds of silence in the middle of the body.
        chunked: sends it in chunks, without a length.
    """

    status: int = 200
    cut: int | None = None
    reset: bool = False
    tag: str = '"one"'
    ranges: bool = True
    trusting: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    wait_s: float = 0.0
    chunked: bool = False


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        answer = self.server.script.pop(0) if self.server.script else self.server.usual
        files = self.server.files
        body = answer.body if answer.body is not None else files.get(self.path.partition("?")[0], BODY)
        status, start, headers = answer.status, 0, {"ETag": answer.tag, "Connection": "close"}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = answer.trusting or self.headers.get("If-Range", answer.tag) == answer.tag
        if status == 200 and wanted and answer.ranges and same:
            start, status = int(wanted[1]), 206
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            if start >= len(body):
                start, status, headers["Content-Range"] = len(body), 416, f"bytes */{len(body)}"
        headers |= {"Transfer-Encoding": "chunked"} if answer.chunked else {"Content-Length": str(len(body) - start)}
        self.send_response(status)
        for name, value in (headers | answer.headers).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        rest = body[start:] if answer.cut is None else body[start : max(start, answer.cut)]
        if answer.chunked:
            rest = b"%x\r\n%s\r\n" % (len(rest), rest) + (b"0\r\n\r\n" if answer.cut is None else b"")
        self.wfile.write(rest[: len(rest) // 2])
        if answer.wait_s:
            self.wfile.flush()
            self.server.closing.wait(answer.wait_s)
        self.wfile.write(rest[len(rest) // 2 :])
        if answer.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        self.close_connection = True

    def log_message(self, *arguments: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    """Answers by `script`, then by `usual`; notes in `asked` what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Answer] = []
        self.usual = Answer()
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.closing = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no fault here."""

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"

    def begin(self, *script: Answer) -> None:
        self.script, self.usual, self.asked = list(script), Answer(), []

    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.asked]


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.closing.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def server(shared_server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    shared_server.begin()
    shared_server.files = {}
    return shared_server


def spec_of(*sources: Source) -> TaskSpec:
    return TASKS["ecg"].spec.model_copy(update={"sources": sources})


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.fixture
def one(server: Server) -> Callable[..., TaskSpec]:
    """A spec of one file on the server; by default all is known of it."""

    def make(**known: Any) -> TaskSpec:
        fields: dict[str, Any] = {"filename": "file.bin", "url": server.url("file.bin"), "size_bytes": len(BODY)}
        return spec_of(Source(**fields | {"sha256": sha256(BODY)} | known))

    return make


UNKNOWN: dict[str, Any] = {"size_bytes": None, "sha256": None}


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".download.lock"}


def test_a_file_comes_whole_and_alone(server: Server, one: Callable[..., TaskSpec], tmp_path: Path) -> None:
    told: list[tuple[str, int, int | None]] = []
    found = download(one(), tmp_path / "raw", lambda *report: told.append(report), patience=QUICK)
    assert found == [tmp_path / "raw" / "file.bin"]
    assert found[0].read_bytes() == BODY
    assert left_in(tmp_path / "raw") == {"file.bin"}
    assert told[0] == ("file.bin", 0, len(BODY))
    assert told[-1] == ("file.bin", len(BODY), len(BODY))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert server.asked[0][1]["Accept-Encoding"] == "identity"
    assert download(one(), tmp_path / "raw", patience=QUICK) == found
    assert len(server.asked) == 1  # what is there is not asked for


@pytest.mark.parametrize("known", [{"sha256": None}, {"size_bytes": None}, UNKNOWN, {**UNKNOWN, "md5": ""}])
def test_with_whatever_is_known_of_it(known: dict[str, Any], one: Callable[..., TaskSpec], tmp_path: Path) -> None:
    if "md5" in known:
        known = known | {"md5": hashlib.md5(BODY).hexdigest()}
    assert download(one(**known), tmp_path, patience=QUICK)[0].read_bytes() == BODY


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, len(BODY) - 1), max_size=3),
    reset=st.booleans(),
    ranges=st.booleans(),
    known=st.sampled_from([{}, UNKNOWN]),
    chunk=st.sampled_from([1, 64, 1 << 16]),
)
def test_a_transfer_that_breaks_anywhere_goes_on_and_gives_the_same_bytes(
    cuts: list[int],
    reset: bool,
    ranges: bool,
    known: dict[str, Any],
    chunk: int,
    server: Server,
    one: Callable[..., TaskSpec],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    server.begin(*(Answer(cut=cut, reset=reset, ranges=ranges) for cut in cuts))
    folder = tmp_path_factory.mktemp("raw")
    patience = Patience(10, 10, attempts=4, wait_s=0.0, chunk_bytes=chunk)
    assert download(one(**known), folder, patience=patience)[0].read_bytes() == BODY
    assert left_in(folder) == {"file.bin"}


def test_it_goes_on_where_it_was(server: Server, one: Callable[..., TaskSpec], tmp_path: Path) -> None:
    server.begin(Answer(cut=1000), Answer(cut=2000))
    notes: list[str] = []
    download(one(), tmp_path, note=notes.append, patience=QUICK)
    begins = [int((found or "bytes=0-")[6:-1]) for found in server.ranges()]
    assert begins[0] == 0
    assert 1000 - 64 < begins[1] <= 1000
    assert 2000 - 64 < begins[2] <= 2000
    assert server.asked[1][1]["If-Range"] == '"one"'
    assert f"the connection broke. Again in 0 s; {begins[1]:,} bytes are here" in notes[0]


def test_another_call_goes_on_where_the_first_was(server: Server, one: Callable[..., TaskSpec], tmp_path: Path) -> None:
    server.begin(*[Answer(cut=640)] * QUICK.attempts)
    with pytest.raises(RawDataError, match=r"the connection broke \(4 attempts.*640 bytes are kept; the same command"):
        download(one(), tmp_path, patience=QUICK)
    assert left_in(tmp_path) == {"file.bin.part", "file.bin.part.json"}
    server.begin()
    assert download(one(), tmp_path, patience=QUICK)[0].read_bytes() == BODY
    assert server.ranges() == ["bytes=640-"]
    assert left_in(tmp_path) == {"file.bin"}


def test_an_interruption_keeps_what_came(server: Server, one: Callable[..., TaskSpec], tmp_path: Path) -> None:
    def stop(name: str, done: int, total: int | None) -> None:
        if done >= 1280:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(one(), tmp_path, stop, patience=QUICK)
    assert left_in(tmp_path) == {"file.bin.part", "file.bin.part.json"}
    server.begin()
    assert download(one(), tmp_path, patience=QUICK)[0].read_bytes() == BODY
    assert server.ranges() in (["bytes=1280-"], ["bytes=1216-"])


FIRST = """
import sys
from pathlib import Path
from nas360.loaders import TASKS
from nas360.loaders.raw.download import download
from nas360.task import Source
spec = TASKS["ecg"].spec.model_copy(update={"sources": (Source(filename="file.bin", url=sys.argv[1]),)})
download(spec, Path(sys.argv[2]))
"""


def test_a_killed_download_goes_on(server: Server, one: Callable[..., TaskSpec], tmp_path: Path) -> None:
    body = BODY * 512
    server.files = {"/file.bin": body}
    server.begin(Answer(wait_s=20.0))
    process = subprocess.Popen([sys.executable, "-c", FIRST, server.url("file.bin"), str(tmp_path)])
    part = tmp_path / "file.bin.part"
    limit = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size > 1 << 18) and time.monotonic() < limit:
        time.sleep(0.01)
    process.kill()
    process.wait()
    here = part.stat().st_size
    server.begin()
    assert download(one(**UNKNOWN), tmp_path, patience=QUICK)[0].read_bytes() == body
    assert server.ranges() == [f"bytes={here}-"]
    assert left_in(tmp_path) == {"file.bin"}


def test_an_interruption_while_the_hash_is_taken_loses_nothing(
    server: Server, one: Callable[..., TaskSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: Any, **settings: Any) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pooch.core.hash_matches", stop)
        with pytest.raises(KeyboardInterrupt):
            download(one(), tmp_path, patience=QUICK)
    assert left_in(tmp_path) == {"file.bin.part", "file.bin.part.json"}
    server.begin()
    assert download(one(), tmp_path, patience=QUICK)[0].read_bytes() == BODY
    assert server.asked == []


@pytest.mark.parametrize("trusting", [False, True])
@pytest.mark.parametrize("known", [UNKNOWN, {"sha256": None}])
def test_a_file_that_changed_begins_anew(
    trusting: bool, known: dict[str, Any], server: Server, one: Callable[..., TaskSpec], tmp_path: Path
) -> None:
    """Whether the server minds If-Range or not."""
    other = bytes(reversed(BODY))
    changed = Answer(tag='"two"', body=other, trusting=trusting)
    server.begin(Answer(cut=1000))
    server.usual = changed
    assert download(one(**known), tmp_path, patience=QUICK)[0].read_bytes() == other


def test_without_a_validator_only_a_hash_lets_it_go_on(
    server: Server, one: Callable[..., TaskSpec], tmp_path: Path
) -> None:
    bare = {"ETag": ""}
    for number, (known, begins) in enumerate([({}, "bytes=1024-"), (UNKNOWN, None)]):
        server.begin(Answer(cut=1024, headers=bare))
        server.usual = Answer(headers=bare)
        download(one(**known), tmp_path / str(number), patience=QUICK)
        assert server.ranges() == [None, begins]


def test_a_weak_tag_vouches_for_nothing(server: Server, one: Callable[..., TaskSpec], tmp_path: Path) -> None:
    server.begin(Answer(cut=1000, tag='W/"one"'))
    server.usual = Answer(tag='W/"one"')
    download(one(**UNKNOWN), tmp_path, patience=QUICK)
    assert server.ranges() == [None, None]


def test_parts_of_two_files_are_found_out_by_the_hash(
    server: Server, one: Callable[..., TaskSpec], tmp_path: Path
) -> None:
    """A server that gives neither tag nor date, whose file changed in between: fetched once more, whole."""
    bare = {"ETag": ""}
    server.begin(Answer(cut=1024, headers=bare, body=bytes(len(BODY))))
    server.usual = Answer(headers=bare)
    notes: list[str] = []
    assert download(one(), tmp_path, note=notes.append, patience=QUICK)[0].read_bytes() == BODY
    assert server.ranges() == [None, "bytes=1024-", None]
    assert "fetched once more from its start" in notes[-1]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"url": 3}', "\0", "URL"])
def test_a_part_that_nothing_is_known_of_is_not_gone_on_from(
    text: str, server: Server, one: Callable[..., TaskSpec], tmp_path: Path
) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"x" * 500)
    mark = {"url": "http://elsewhere.invalid/file.bin", "validator": '"one"', "total": len(BODY)}
    (tmp_path / "file.bin.part.json").write_text(json.dumps(mark) if text == "URL" else text)
    assert download(one(**UNKNOWN), tmp_path, patience=QUICK)[0].read_bytes() == BODY
    assert server.ranges() == [None]


def test_a_whole_part_of_another_size_is_not_taken(
    server: Server, one: Callable[..., TaskSpec], tmp_path: Path
) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"x" * 500)
    mark = {"url": server.url("file.bin"), "validator": '"one"', "total": 500}
    (tmp_path / "file.bin.part.json").write_text(json.dumps(mark))
    assert download(one(sha256=None), tmp_path, patience=QUICK)[0].read_bytes() == BODY
    assert server.ranges() == [None]


def test_another_hash_is_told_and_nothing_kept(server: Server, one: Callable[..., TaskSpec], tmp_path: Path) -> None:
    expected = rf"expected sha256:{'0' * 64} but got {sha256(BODY)}"
    with pytest.raises(RawDataError, match=expected):
        download(one(sha256="0" * 64), tmp_path, patience=QUICK)
    assert left_in(tmp_path) == set()
    assert len(server.asked) == 1
    with pytest.raises(RawDataError, match=f"expected md5:{'0' * 32} but got {hashlib.md5(BODY).hexdigest()}"):
        download(one(sha256=None, md5="0" * 32), tmp_path, patience=QUICK)


def test_another_size_is_refused_before_it_is_fetched(
    server: Server, one: Callable[..., TaskSpec], tmp_path: Path
) -> None:
    with pytest.raises(RawDataError, match="has 2,304 bytes, but the official file has 2,303"):
        download(one(size_bytes=len(BODY) - 1), tmp_path, patience=QUICK)
    assert left_in(tmp_path) == set()


@pytest.mark.parametrize("size", [len(BODY) - 1, 10])
def test_more_bytes_than_the_official_file_has_are_not_taken(
    size: int, server: Server, one: Callable[..., TaskSpec], tmp_path: Path
) -> None:
    server.usual = Answer(chunked=True)
    with pytest.raises(RawDataError, match=f"sends more than the {size:,} bytes that it may have"):
        download(one(size_bytes=size), tmp_path, patience=QUICK)
    assert left_in(tmp_path) == set()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_of_unknown_size_is_bounded(
    chunked: bool, server: Server, one: Callable[..., TaskSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas360.loaders.raw.download.MAX_UNKNOWN_BYTES", 1000)
    server.usual = Answer(chunked=chunked)
    with pytest.raises(RawDataError, match=r"more than the 1,000 "):
        download(one(**UNKNOWN), tmp_path, patience=QUICK)
    assert left_in(tmp_path) == set()


def test_chunks_that_break_off_are_not_the_end(server: Server, one: Callable[..., TaskSpec], tmp_path: Path) -> None:
    server.begin(Answer(chunked=True, cut=896))
    assert download(one(**UNKNOWN), tmp_path, patience=QUICK)[0].read_bytes() == BODY
    assert server.ranges() == [None, "bytes=896-"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 206])
def test_a_refusal_is_not_asked_again(
    status: int, server: Server, one: Callable[..., TaskSpec], tmp_path: Path
) -> None:
    server.usual = Answer(status=status)
    with pytest.raises(RawDataError, match=f"file.bin: http.*/file.bin answers {status} "):
        download(one(), tmp_path, patience=QUICK)
    assert len(server.asked) == 1
    assert left_in(tmp_path) == set()


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(
    status: int, server: Server, one: Callable[..., TaskSpec], tmp_path: Path
) -> None:
    server.begin(Answer(status=status), Answer(status=status))
    assert download(one(), tmp_path, patience=QUICK)[0].read_bytes() == BODY
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        ("2", 2.0),
        ("900000", 5.0),
        ("", 0.25),
        ("soon", 0.25),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.25),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 5.0),
    ],
)
def test_a_server_says_how_long_to_wait(
    asked: str,
    waited: float,
    server: Server,
    one: Callable[..., TaskSpec],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("nas360.loaders.raw.transfer.time.sleep", slept.append)
    server.begin(Answer(status=503, headers={"Retry-After": asked}), Answer(status=503))
    download(one(), tmp_path, patience=Patience(wait_s=0.25, longest_wait_s=5.0))
    assert slept == [waited, 0.5]


def test_a_server_that_falls_silent_is_left(server: Server, one: Callable[..., TaskSpec], tmp_path: Path) -> None:
    server.begin(Answer(wait_s=20.0))
    notes: list[str] = []
    impatient = dataclasses.replace(QUICK, silence_s=0.3)
    start = time.perf_counter()
    assert download(one(), tmp_path, note=notes.append, patience=impatient)[0].read_bytes() == BODY
    assert time.perf_counter() - start < 10
    assert "nothing came for 0.3 s" in notes[0]
    assert server.ranges()[:2] == [None, "bytes=1152-"]


def test_a_server_that_is_not_there(one: Callable[..., TaskSpec], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/file.bin"
    lost = Source(filename="lost.bin", url=url)
    with pytest.raises(RawDataError, match=r"lost.bin: no connection to 127.0.0.1, or it broke.*Not tried: other.bin"):
        download(spec_of(lost, lost.model_copy(update={"filename": "other.bin"})), tmp_path, patience=QUICK)


def test_progress_earns_new_attempts(
    server: Server, one: Callable[..., TaskSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas360.loaders.raw.transfer.MIB", 128)
    server.begin(*(Answer(cut=cut) for cut in range(128, 2304, 128)))
    assert download(one(), tmp_path, patience=QUICK)[0].read_bytes() == BODY
    server.begin(*(Answer(cut=cut, ranges=False) for cut in range(16, 2304, 16)))
    with pytest.raises(RawDataError, match="4 attempts"):
        download(one(), tmp_path / "other", patience=QUICK)


def test_a_redirect_is_followed_and_what_it_led_to_not_told(
    server: Server, one: Callable[..., TaskSpec], tmp_path: Path
) -> None:
    away = Answer(status=302, headers={"Location": server.url("signed?key=secret")})
    server.begin(away)
    assert download(one(), tmp_path, patience=QUICK)[0].read_bytes() == BODY
    assert [path for path, _ in server.asked] == ["/file.bin", "/signed?key=secret"]
    server.begin(*[away, Answer(cut=3)] * QUICK.attempts)
    with pytest.raises(RawDataError, match="the connection broke") as caught:
        download(one(), tmp_path / "other", patience=QUICK)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/file.bin", "gopher://x/", "//[bad/"])
def test_a_redirect_elsewhere_than_http_is_refused(
    target: str, server: Server, one: Callable[..., TaskSpec], tmp_path: Path
) -> None:
    server.begin(Answer(status=302, headers={"Location": target}))
    with pytest.raises(RawDataError, match="neither http nor https, or none; refused"):
        download(one(), tmp_path, patience=QUICK)
    assert left_in(tmp_path) == set()


def test_other_addresses_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    with pytest.raises(RawDataError, match="neither http nor https"):
        download(spec_of(Source(filename="a", url=secret.as_uri())), tmp_path / "raw", patience=QUICK)


def test_redirects_in_a_circle_end(server: Server, one: Callable[..., TaskSpec], tmp_path: Path) -> None:
    server.usual = Answer(status=302, headers={"Location": server.url("file.bin")})
    with pytest.raises(RawDataError, match="leads on more than 10 times"):
        download(one(), tmp_path, patience=QUICK)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(headers={"Content-Type": "text/html; charset=utf-8"}), "answers with a web page in place of the file"),
        (Answer(headers={"Content-Encoding": "gzip"}), r"sends it encoded \(gzip\), though asked not to"),
        (Answer(body=b""), "has an empty file of this name"),
        (Answer(body=b"", chunked=True), "the server sent nothing"),
    ],
)
def test_what_is_not_the_file_is_refused(
    answer: Answer, message: str, server: Server, one: Callable[..., TaskSpec], tmp_path: Path
) -> None:
    server.usual = answer
    with pytest.raises(RawDataError, match=message):
        download(one(**UNKNOWN), tmp_path, patience=QUICK)
    assert not (tmp_path / "file.bin").exists()


def test_a_gzip_file_is_kept_as_it_is_stored(server: Server, tmp_path: Path) -> None:
    server.usual = Answer(headers={"Content-Encoding": "x-gzip"})
    source = Source(filename="a.tar.gz", url=server.url("a.tar.gz"))
    assert download(spec_of(source), tmp_path, patience=QUICK)[0].read_bytes() == BODY


def test_all_that_is_wrong_is_told_at_once(server: Server, tmp_path: Path) -> None:
    """Of three files one is absent on the server, one comes, one is by hand; a fourth is there but not official."""
    server.files = {"/good.bin": BODY}
    server.begin(Answer(status=404))
    sources = (
        Source(filename="absent.bin", url=server.url("absent.bin")),
        Source(filename="good.bin", url=server.url("good.bin")),
        Source(
            filename="hand.mat", url="https://example.org/page", manual="it asks for a login; make one", note="maps"
        ),
        Source(filename="mine.bin", url=server.url("mine.bin"), size_bytes=7),
    )
    (tmp_path / "mine.bin").write_bytes(b"mine")
    with pytest.raises(RawDataError, match=r"absent.bin: .* answers 404") as caught:
        download(spec_of(*sources), tmp_path, patience=QUICK)
    told = str(caught.value)
    assert "mine.bin: a file of this name is in" in told
    assert "(4 bytes, not 7). Move it away" in told
    assert "1 raw file of 'ecg' must be fetched by hand:\n  hand.mat (maps)\n    https://example.org/page" in told
    assert "Why: it asks for a login; make one" in told
    assert told.endswith(f"then: nas360 prepare ecg --raw {tmp_path}")
    assert (tmp_path / "good.bin").read_bytes() == BODY
    assert (tmp_path / "mine.bin").read_bytes() == b"mine"


def test_files_by_hand_are_asked_for_until_they_are_there(server: Server, tmp_path: Path) -> None:
    sources = tuple(
        Source(filename=name, url=f"https://example.org/{name}", manual="a closed service")
        for name in ("a.mat", "b.zip")
    )
    with pytest.raises(
        RawDataError, match=r"2 raw files of 'ecg'.*\n  a.mat\n.*a.mat\n  b.zip\n.*b.zip\n  Why: a closed"
    ):
        download(spec_of(*sources), tmp_path, patience=QUICK)
    (tmp_path / "a.mat").touch()
    with pytest.raises(RawDataError, match="1 raw file of 'ecg'") as caught:
        download(spec_of(*sources), tmp_path, patience=QUICK)
    assert "a.mat" not in str(caught.value)
    (tmp_path / "b").mkdir()  # unpacked
    assert download(spec_of(*sources), tmp_path, patience=QUICK) == [tmp_path / "a.mat", tmp_path / "b"]
    assert server.asked == []


def test_another_form_of_the_data_is_never_fetched_but_does(server: Server, tmp_path: Path) -> None:
    sources = (
        Source(filename="a.csv", url="https://example.org/a", manual="closed"),
        Source(filename="a.npy", url=server.url("a.npy"), optional=True),
    )
    with pytest.raises(
        RawDataError, match=r"must be fetched by hand(.|\n)*Or the same data in another form:\n  a.npy\n"
    ):
        download(spec_of(*sources), tmp_path, patience=QUICK)
    assert server.asked == []
    (tmp_path / "a.npy").touch()
    assert download(spec_of(*sources), tmp_path, patience=QUICK) == []


def test_want_of_room_is_told_first(server: Server, one: Callable[..., TaskSpec], tmp_path: Path) -> None:
    with pytest.raises(RawDataError, match=r"1,125,899,906,842,624 bytes are to be fetched, but only"):
        download(one(size_bytes=1 << 50), tmp_path, patience=QUICK)
    assert server.asked == []


def test_a_disk_that_fails_is_told(
    server: Server, one: Callable[..., TaskSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nas360.loaders.raw.transfer.os.fsync", full)
    monkeypatch.setattr("nas360.loaders.raw.transfer.write_json", lambda *content: None)  # it calls fsync too
    with pytest.raises(RawDataError, match=r"cannot be written to .* \(No space left on device\)"):
        download(one(), tmp_path, patience=QUICK)


def test_a_twin_is_not_mixed_with_official_files(one: Callable[..., TaskSpec], tmp_path: Path) -> None:
    (tmp_path / "SYNTHETIC").touch()
    with pytest.raises(RawDataError, match="holds a synthetic twin"):
        download(one(), tmp_path, patience=QUICK)


def test_without_hard_links(
    server: Server, one: Callable[..., TaskSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("nas360.loaders.raw.transfer.os.link", refuse)
    assert download(one(), tmp_path, patience=QUICK)[0].read_bytes() == BODY
    assert left_in(tmp_path) == {"file.bin"}


def test_two_processes_do_not_write_one_file(server: Server, one: Callable[..., TaskSpec], tmp_path: Path) -> None:
    """The one that comes second is told so; the first one's file is whole."""
    told: list[str] = []

    def meet(name: str, done: int, total: int | None) -> None:
        if not told:
            command = [sys.executable, "-c", FIRST, server.url("file.bin"), str(tmp_path)]
            told.append(subprocess.run(command, capture_output=True, text=True).stderr)

    assert download(one(), tmp_path, meet, patience=QUICK)[0].read_bytes() == BODY
    assert f"RawDataError: another process is downloading into {tmp_path}. Wait for it" in told[0]
    assert len(server.asked) == 1


def test_what_was_downloaded_prepares_to_the_same_dataset(
    server: Server, tmp_path: Path, synthetic_raw: Callable[[str], Path]
) -> None:
    raw = synthetic_raw("ecg")
    task = TASKS["ecg"]
    server.files = {f"/{path.name}": path.read_bytes() for path in raw.iterdir()}
    server.begin(Answer(cut=10_000), Answer(status=503))
    sources = tuple(
        source.model_copy(
            update={
                "url": server.url(source.filename),
                "sha256": sha256(server.files[f"/{source.filename}"]),
                "size_bytes": len(server.files[f"/{source.filename}"]),
            }
        )
        for source in task.spec.sources
    )
    found = download(task.spec.model_copy(update={"sources": sources}), tmp_path / "raw", patience=QUICK)
    assert [path.name for path in found] == [source.filename for source in sources]
    ours = prepare(task, tmp_path / "raw", tmp_path / "ours")
    assert ours.content_sha256 == prepare(task, raw, tmp_path / "theirs").content_sha256


@pytest.mark.parametrize("task", TASKS)
def test_every_task_says_how_its_files_are_had(task: str) -> None:
    """By a program from http or https, or by hand, for a reason; and no hash is that of an empty file."""
    spec = TASKS[task].spec
    assert any(not source.optional for source in spec.sources)
    assert len({source.filename for source in spec.sources}) == len(spec.sources)
    for source in spec.sources:
        assert re.match(r"https?://", source.url), source
        assert source.sha256 != sha256(b"")
        assert source.md5 != hashlib.md5(b"").hexdigest()
        assert "drive.google.com" not in source.url or source.manual or source.optional, source


def test_the_import_is_light() -> None:
    heavy = "('requests', 'pooch', 'torch')"
    code = f"import sys, nas360.loaders.raw.download; print([n for n in {heavy} if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
