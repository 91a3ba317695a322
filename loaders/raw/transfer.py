"""One file over HTTP, which goes on where it was when the line breaks or the process is killed."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from nas360.errors import RawDataError
from nas360.files import MIB, read_json, write_json
from nas360.task import Frozen

if TYPE_CHECKING:
    from requests import Response, Session

Report = Callable[[str, int, int | None], None]
"""Told a file's name, its bytes that are here, and all its bytes where that is known."""

Note = Callable[[str], None]
"""Told in words what is being waited for."""

MAX_REDIRECTS = 10
MAX_MARK_BYTES = 1 << 16
# what a server, or one on the way to it, answers while it is busy or being mended
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18}|\*)")


class TransferError(RawDataError):
    """A file that cannot be had from where its publisher keeps it."""


class UnreachableError(TransferError):
    """A server that does not answer, or breaks off, however often it is asked."""


class _Broken(Exception):
    """An attempt that failed for what may pass."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, and how often it is asked again.

    Attributes:
        connect_s: seconds until a connection must stand.
        silence_s: seconds in which nothing may come.
        attempts: in a row that bring less than a MiB; one that brings more starts the count anew.
        wait_s: seconds before the second attempt; they double from one to the next.
        longest_wait_s: the most seconds between two attempts, also when the server asks for more.
        chunk_bytes: what is read at once, and the most that a break loses.
    """

    connect_s: float = 30.0
    silence_s: float = 60.0
    attempts: int = 6
    wait_s: float = 1.0
    longest_wait_s: float = 120.0
    chunk_bytes: int = 1 << 16


class _Mark(Frozen):
    """Which file on which server it is whose beginning is kept.

    Attributes:
        url: where it is.
        validator: its entity tag or date, by which the server tells whether it still is the same; empty if unknown.
        total: its size in bytes, if known.
    """

    url: str
    validator: str
    total: int | None = Field(gt=0)


class Transfer:
    """A downloader for pooch that resumes, as `pooch.retrieve(..., downloader=Transfer(...))`.

    What came is kept in `part`, with a note beside it of what it is the beginning of, until `drop` is called.

    A file that its server sends without a length ends where the connection does: that it is whole, only a known size
    or hash can tell.

    Args:
        part: where what came is kept.
        name: the file's name in reports and messages.
        size: its official size in bytes, if known; any other is refused.
        max_bytes: the most it may have where the size is not known.
        hashed: whether its hash is checked afterwards, so that a beginning can be gone on from which the server gave
            neither entity tag nor date for.
        patience: how long and how often to try.
        report: told of every chunk.
        note: told why an attempt failed, and when the next one is.
    """

    def __init__(
        self,
        part: Path,
        *,
        name: str,
        size: int | None,
        max_bytes: int,
        hashed: bool,
        patience: Patience,
        report: Report,
        note: Note,
    ) -> None:
        self.part, self.name, self.size, self.hashed = part, name, size, hashed
        self.limit = max_bytes if size is None else size
        self.patience, self.report, self.note = patience, report, note
        self.resumed = False
        """Whether the file was put together from several answers."""
        self._mark = part.with_name(f"{part.name}.json")

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        """Fetch `url` and give it the name `output_file`; the signature is pooch's.

        Raises:
            UnreachableError: when the attempts are used up.
            TransferError: when the server has not the file, or another one, or the disk is full.
        """
        self._fetch(url)
        output = Path(output_file)
        output.unlink(missing_ok=True)
        try:
            # a second name, so that whoever is interrupted while the hash is taken does not lose the file
            os.link(self.part, output)
        except OSError:  # a file system without links
            self.part.replace(output)

    def drop(self) -> None:
        """Forget what came."""
        self.part.unlink(missing_ok=True)
        self._mark.unlink(missing_ok=True)

    def _fetch(self, url: str) -> None:
        import requests

        failures, best = 0, self._here()
        with requests.Session() as session:
            session.max_redirects = MAX_REDIRECTS
            while True:
                try:
                    return self._attempt(session, url)
                except _Broken as cause:
                    here = self._here()
                    if here >= best + MIB:
                        failures, best = 0, here
                    failures += 1
                    if failures >= self.patience.attempts:
                        raise UnreachableError(
                            f"{self.name}: {cause} ({failures} attempts, {url}). {here:,} bytes are kept; the same "
                            "command goes on from there"
                        ) from cause
                    wait = max(cause.wait_s, self.patience.wait_s * 2 ** (failures - 1))
                    wait = min(wait, self.patience.longest_wait_s)
                    self.note(f"{self.name}: {cause}. Again in {wait:.0f} s; {here:,} bytes are here")
                    time.sleep(wait)

    def _here(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _kept(self, url: str) -> _Mark | None:
        """What the kept part is the beginning of; None, and no part, where that cannot be told."""
        try:
            mark = _Mark.model_validate(read_json(self._mark, MAX_MARK_BYTES, RawDataError))
        except (RawDataError, ValidationError):
            mark = None
        if mark is not None and mark.url == url and (None in (mark.total, self.size) or mark.total == self.size):
            here = self._here()
            if 0 < here <= (mark.total or self.limit) and (mark.validator or self.hashed or here == mark.total):
                return mark
        self.drop()
        return None

    def _attempt(self, session: Session, url: str) -> None:
        mark = self._kept(url)
        here = self._here()
        if mark is not None and here == mark.total:
            self.resumed = True
            self.report(self.name, here, here)
            return
        # no compression on the way: sizes and hashes are those of the file as it is stored
        headers = {"Accept-Encoding": "identity"}
        if mark is not None:
            headers["Range"] = f"bytes={here}-"
            if mark.validator:
                headers["If-Range"] = mark.validator
        with self._faults_told(url):
            with self._answer(session, url, headers) as response:
                start, total = self._placed(response, url, mark)
                if start != total:
                    self._receive(response, url, start, total)

    def _answer(self, session: Session, url: str, headers: dict[str, str]) -> Response:
        from requests.exceptions import InvalidURL, RequestException

        timeout = (self.patience.connect_s, self.patience.silence_s)
        try:
            return session.get(url, headers=headers, stream=True, timeout=timeout)
        except RequestException:
            raise
        except ValueError as cause:  # a redirect to what cannot be read as an address
            raise InvalidURL(url) from cause

    def _placed(self, response: Response, url: str, mark: _Mark | None) -> tuple[int, int | None]:
        """Where in the file the answer's body begins, and the file's size; an error for an answer without the file."""
        status = response.status_code
        if status in BUSY:
            raise _Broken(f"the server answers {status} ({response.reason})", _retry_after(response))
        here = self._here()
        if mark is not None and status in (206, 416):
            found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            first, last = found.groups() if found else (None, "*")
            total = None if last is None or last == "*" else int(last)
            same = mark.total in (None, total) and _may_be(response, mark.validator)
            if status == 416 and same and total == here:
                return here, here
            if status == 206 and same and first is not None and int(first) == here:
                self._check_size(total, url)
                self.resumed = True
                return here, total
            self.drop()
            raise _Broken(
                "the file on the server is not the one whose beginning was here; it is fetched from its start"
            )
        if status != 200:
            raise TransferError(
                f"{self.name}: {url} answers {status} ({response.reason}), where the file was expected. Get it by "
                "another way and put it in the folder of raw files"
            )
        self._check_form(response, url)
        self.resumed = False
        length = response.headers.get("Content-Length", "")
        total = int(length) if re.fullmatch(r"\d{1,18}", length) else None
        self._check_size(total, url)
        return 0, total

    def _check_form(self, response: Response, url: str) -> None:
        encoding = response.headers.get("Content-Encoding", "identity").lower()
        # of a .gz some servers say that it is something else, encoded
        if encoding != "identity" and not self.name.endswith((".gz", ".tgz")):
            raise TransferError(f"{self.name}: {url} sends it encoded ({encoding[:20]}), though asked not to")
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind == "text/html" and not self.name.endswith((".html", ".htm")):
            raise TransferError(
                f"{self.name}: {url} answers with a web page in place of the file, as for a login or a question. Open "
                "it in a browser, and put the file in the folder of raw files"
            )

    def _check_size(self, total: int | None, url: str) -> None:
        if total is None:
            return
        if total == 0:
            raise TransferError(f"{self.name}: {url} has an empty file of this name")
        if self.size is not None and total != self.size:
            raise TransferError(
                f"{self.name}: {url} has {total:,} bytes, but the official file has {self.size:,}. Nothing was taken"
            )
        if total > self.limit:
            raise TransferError(
                f"{self.name}: {url} has {total:,} bytes, more than the {self.limit:,} that are taken of a file whose "
                "size is not known. If that is right, fetch it by hand into the folder of raw files"
            )
        free = shutil.disk_usage(self.part.parent).free
        if total - self._here() > free:
            raise TransferError(
                f"{self.name}: {total - self._here():,} bytes are to come, but only {free:,} are free in "
                f"{self.part.parent}. Make room, or give --raw a folder on another disk"
            )

    def _receive(self, response: Response, url: str, start: int, total: int | None) -> None:
        """Write the body from `start` on. The mark is there before the first byte that it tells of."""
        mark = _Mark(url=url, validator=_validator(response), total=total)
        here = start
        try:
            if start == 0:
                self.drop()
                self.part.touch()
                write_json(self._mark, mark.model_dump())
            with self.part.open("r+b") as stream:
                stream.seek(start)
                self.report(self.name, here, total)
                for chunk in response.raw.stream(self.patience.chunk_bytes, decode_content=False):
                    here += len(chunk)
                    if here > (total or self.limit):
                        break
                    stream.write(chunk)
                    self.report(self.name, here, total)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as cause:  # of the disk: what the network raises is of another family here
            raise TransferError(
                f"{self.name}: cannot be written to {self.part.parent} ({cause.strerror}). What came is kept; mend "
                "that, and the same command goes on from there"
            ) from cause
        if here > (total or self.limit):
            self.drop()
            raise TransferError(
                f"{self.name}: {url} sends more than the {total or self.limit:,} bytes that it may have. "
                "Nothing was kept"
            )
        whole = self.size or total
        if here == 0 or (whole is not None and here != whole):
            raise _Broken(f"the server ended after {here:,} of {whole:,} bytes" if whole else "the server sent nothing")
        if total is None:  # now it is known, and a part of this size is the whole file
            write_json(self._mark, mark.model_copy(update={"total": here}).model_dump())
            self.report(self.name, here, here)

    @contextmanager
    def _faults_told(self, url: str) -> Iterator[None]:
        """Sort what requests and urllib3 raise into what may pass and what will not.

        Their own texts are left out: they hold the address that a redirect led to, which can be a signed one.
        """
        from requests import exceptions as faults
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        silence = f"nothing came for {self.patience.silence_s:g} s"
        try:
            yield
        except faults.SSLError as cause:
            if "CERTIFICATE_VERIFY_FAILED" not in str(cause):
                raise _Broken(f"the secure connection to {_host(url)} broke") from cause
            raise TransferError(f"{self.name}: the certificate of {_host(url)} cannot be verified") from cause
        except faults.ConnectTimeout as cause:
            raise _Broken(f"no connection to {_host(url)} within {self.patience.connect_s:g} s") from cause
        except (faults.ReadTimeout, ReadTimeoutError) as cause:
            raise _Broken(silence) from cause
        except faults.ConnectionError as cause:
            raise _Broken(f"no connection to {_host(url)}, or it broke") from cause
        except (faults.InvalidSchema, faults.MissingSchema, faults.InvalidURL) as cause:
            raise TransferError(
                f"{self.name}: {url} leads to an address that is neither http nor https, or none; refused"
            ) from cause
        except faults.TooManyRedirects as cause:
            raise TransferError(f"{self.name}: {url} leads on more than {MAX_REDIRECTS} times") from cause
        except HTTPError as cause:
            raise _Broken("the connection broke") from cause
        except faults.RequestException as cause:
            raise TransferError(f"{self.name}: {url} cannot be read ({type(cause).__name__})") from cause


def _validator(response: Response) -> str:
    """What If-Range takes: a strong entity tag, else a date; empty where the answer has neither."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _may_be(response: Response, validator: str) -> bool:
    """Whether nothing in the answer says that it is of another version than the one of this validator."""
    name = "ETag" if validator.startswith('"') else "Last-Modified"
    return response.headers.get(name, validator) == validator


def _retry_after(response: Response) -> float:
    """The seconds that a busy server asks to be left alone."""
    given = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,6}", given):
        return float(given)
    try:
        until = parsedate_to_datetime(given)
    except ValueError:
        return 0.0
    # a date without a zone is in UTC
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def _host(url: str) -> str:
    return urlsplit(url).hostname or url
