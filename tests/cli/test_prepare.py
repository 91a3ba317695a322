"""`nas360 prepare` and what it says; the transfers themselves are tested with the loaders."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from nas360.cli import main
from nas360.loaders import TASKS
from nas360.loaders.prepare import prepare
from nas360.loaders.repository.manifest import Manifest, read_manifest
from nas360.loaders.workers import available_cores


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The raw files of ECG's twin, without the mark that tells so, as if they were official."""
    folder = tmp_path_factory.mktemp("raw")
    TASKS["ecg"].write_synthetic(folder, 0)
    (folder / "SYNTHETIC").unlink()
    return folder


@pytest.fixture
def served(raw: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """ECG, whose sources are these files on a server of this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(raw)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    task = TASKS["ecg"]
    sources = tuple(
        source.model_copy(
            update={
                "url": f"http://127.0.0.1:{server.server_address[1]}/{source.filename}",
                "sha256": hashlib.sha256((raw / source.filename).read_bytes()).hexdigest(),
            }
        )
        for source in task.spec.sources
    )
    spec = task.spec.model_copy(update={"sources": sources})
    monkeypatch.setattr("nas360.loaders.ecg.TASK", dataclasses.replace(task, spec=spec))
    yield raw
    server.shutdown()
    server.server_close()
    thread.join()


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error with its line breaks taken out."""
    with pytest.raises(SystemExit, match=r"\d") as left:
        main(["prepare", *arguments])
    shown = capsys.readouterr()
    return int(left.value.code or 0), shown.out, shown.err


def test_downloaded_is_as_prepared_from_the_files(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NAS360_DATA", str(tmp_path / "data"))
    code, shown, told = call(capsys, "ecg", "--download", "--workers", "1", "--json")
    assert code == 0, told
    expected = prepare(TASKS["ecg"], served, tmp_path / "expected").content_sha256
    assert json.loads(shown)["content_sha256"] == expected
    assert read_manifest(tmp_path / "data" / "ecg").content_sha256 == expected
    kept = tmp_path / "data" / "raw" / "ecg"
    assert f"raw files kept in {kept}" in told
    assert {path.name for path in kept.iterdir()} == {path.name for path in served.iterdir()} | {".download.lock"}
    assert "━" not in told, "no bars where there is no terminal"

    code, _, told = call(
        capsys, "ecg", "--download", "--raw", str(kept), "--workers", "1", "--out", str(tmp_path / "b")
    )
    assert code == 0, told
    assert read_manifest(tmp_path / "b").content_sha256 == expected


def test_a_terminal_shows_bytes_and_rate_of_every_file(
    served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=140)
    monkeypatch.setattr("nas360.cli.output.errors", terminal)
    common = ("--download", "--raw", str(tmp_path / "raw"), "--workers", "1", "--out", str(tmp_path / "out"))
    assert call(capsys, "ecg", *common)[0] == 0
    assert isinstance(terminal.file, io.StringIO)
    drawn = terminal.file.getvalue()
    for source in TASKS["ecg"].spec.sources:
        assert source.filename in drawn
    assert "bytes" in drawn
    assert "/s" in drawn


def test_files_by_hand_are_listed_with_the_way_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "raw"
    code, shown, told = call(capsys, "darcy_flow", "--download", "--raw", str(folder), "--out", str(tmp_path / "out"))
    assert (code, shown) == (2, "")
    for source in TASKS["darcy_flow"].spec.sources:
        assert source.filename in told
        assert source.url in told
    assert f"Put them into {folder} under the names above, then: nas360 prepare darcy_flow --raw {folder}" in told
    assert not (tmp_path / "out").exists()


def test_an_interrupted_download_says_that_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nas360.loaders.raw.download.download", stop)
    code, _, told = call(capsys, "ecg", "--download", "--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "out"))
    assert code == 130
    assert f"what came is kept in {tmp_path / 'raw'}, and the same command goes on from there" in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--download", "--synthetic"], "--synthetic and --download exclude each other"),
        (["--download", "--generate"], "--generate and --download exclude each other"),
        (["--synthetic", "--generate", "--download"], "--synthetic and --generate and --download exclude each other"),
        (["--synthetic", "--raw", "x"], "makes its own raw files; leave --raw out"),
        ([], "where from? Give --download, --raw DIR (official raw files), --generate, or --synthetic"),
        (["--synthetic", "--train", "50"], "--train: only what --generate makes can have any size"),
        (["--raw", "x", "--train", "50", "--test", "9"], "--train and --test: only what --generate makes"),
        (["--download", "--seed", "0"], "--seed: nothing is drawn where the raw files are given"),
        (["--workers", "0"], "'--workers'"),
        (["--workers", "257"], "'--workers'"),
    ],
)
def test_what_does_not_go_together(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown, told = call(capsys, "darcy_flow", *options, "--out", str(tmp_path / "out"))
    assert (code, shown) == (2, "")
    assert message in " ".join(told.replace("│", " ").split())
    assert not list(tmp_path.iterdir())


def test_a_twin_that_is_refused_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    code, _, told = call(capsys, "ecg", "--synthetic", "--out", str(tmp_path / "out"))
    assert (code, "is not empty and holds no dataset" in told) == (2, True)
    assert {path.name for path in tmp_path.iterdir()} == {"out", ".out.lock"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--workers", "3"], 3),
        ([], min(available_cores(), 8)),
        (["--synthetic"], 1),
        (["--synthetic", "--workers", "2"], 2),
    ],
)
def test_workers_reach_the_preparation(
    options: list[str],
    expected: int,
    raw: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: list[int] = []

    def watched(*arguments: Any, workers: int, **settings: Any) -> Manifest:
        seen.append(workers)
        return prepare(*arguments, workers=1, **settings)

    monkeypatch.setattr("nas360.loaders.prepare.prepare", watched)
    where = [] if "--synthetic" in options else ["--raw", str(raw)]
    assert call(capsys, "ecg", *options, *where, "--out", str(tmp_path / "out"))[0] == 0
    assert seen == [expected]
