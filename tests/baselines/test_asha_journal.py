"""The journal of a search: a kill at any byte changes nothing, and damage is found and named."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas360.baselines.asha.brackets import Plan, plan, standard
from nas360.baselines.asha.journal import JournalledScheduler, journalled
from nas360.baselines.asha.sampling import Choice, LogUniform, SamplingSpace, Uniform
from nas360.baselines.asha.scheduler import Failure, Job, Scheduler
from nas360.errors import RunError

SPACE = SamplingSpace({"lr": LogUniform(1e-4, 1e-1), "momentum": Choice((0.0, 0.9))})
PLAN = plan(16, 64, mode=standard)
ABOUT = {"task": "toy"}


def answer(job: Job) -> float | Failure:
    """One in nine fails; half of the errors are ties."""
    drawn = float(np.random.default_rng([job.trial, job.rung]).random())
    if drawn < 1 / 9:
        return Failure('it said "No"\n\u2028 …, "check": "00000000"}')
    return 0.5 if drawn < 1 / 2 else drawn


def drive(search: JournalledScheduler | Scheduler, jobs: int = 1 << 30) -> list[Job]:
    """One worker."""
    done: list[Job] = []
    while len(done) < jobs and (job := search.ask()) is not None:
        search.tell(job.trial, job.rung, answer(job))
        done.append(job)
    return done


def begin(path: Path, planned: Plan = PLAN, seed: int = 0) -> Any:
    return journalled(path, planned, SPACE, seed, ABOUT)


def whole(path: Path) -> bytes:
    """A journal of a search that is over."""
    with begin(path) as search:
        drive(search)
        assert search.scheduler.finished
    return path.read_bytes()


@pytest.fixture(autouse=True)
def without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas360.baselines.asha.journal.os.fsync", lambda handle: None)


def test_a_journal_changes_nothing(tmp_path: Path) -> None:
    plain = Scheduler(PLAN, SPACE, 0)
    jobs = drive(plain)
    with begin(tmp_path / "journal.jsonl") as search:
        assert drive(search) == jobs
        assert list(search.scheduler.outcomes()) == list(plain.outcomes())
    before = (tmp_path / "journal.jsonl").read_bytes()
    with begin(tmp_path / "journal.jsonl") as search:
        assert list(search.scheduler.outcomes()) == list(plain.outcomes())
        assert search.scheduler.best() == plain.best()
        assert search.ask() is None
    assert (tmp_path / "journal.jsonl").read_bytes() == before
    assert len(before.splitlines()) == 1 + 2 * len(jobs)


def test_cut_at_any_byte_it_ends_in_the_same_journal(tmp_path: Path) -> None:
    content = whole(tmp_path / "whole.jsonl")
    path = tmp_path / "cut.jsonl"
    header = content.index(b"\n") + 1
    # every byte of the first lines and of the last, and a sample of the rest
    places = {*range(header, header + 200), *range(len(content) - 100, len(content)), *range(header, len(content), 37)}
    for place in sorted(places):
        path.write_bytes(content[:place])
        with begin(path) as search:
            drive(search)
        assert path.read_bytes() == content


def test_jobs_in_flight_are_asked_again_first_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with begin(path) as search:
        jobs = [search.ask() for _ in range(5)]
        assert jobs[1] is not None and jobs[3] is not None
        search.tell(1, 0, 0.5)
    content = path.read_bytes()
    with begin(path) as search:
        assert search.ask() == jobs[0]
        search.tell(3, 0, 0.25)  # its worker lived on
        assert [search.ask(), search.ask()] == [jobs[2], jobs[4]]
        sixth = search.ask()
        assert sixth is not None and sixth.trial == 5
        assert [job.trial for job in search.scheduler.in_flight] == [0, 2, 4, 5]
    # what is asked again is not written again
    assert len(path.read_bytes().splitlines()) == len(content.splitlines()) + 2


def test_a_failure_is_kept_word_for_word(tmp_path: Path) -> None:
    reason = 'it said "No"\r\n\u2028 \x00 \x1b[31m …, "check": "00000000"}\n{"ask": [1, 0]}'
    with begin(tmp_path / "journal.jsonl") as search:
        for outcome in (Failure(reason), math.nan, Failure("half a pair \ud800")):
            job = search.ask()
            search.tell(job.trial, job.rung, outcome)
        outcomes = list(search.scheduler.outcomes())
    with begin(tmp_path / "journal.jsonl") as search:
        assert list(search.scheduler.outcomes()) == outcomes
    assert [one.failure for one in outcomes] == [reason, "the error is nan, no finite number", "half a pair ?"]


def test_an_answer_is_on_disk_before_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, flushed = tmp_path / "journal.jsonl", [0]
    with begin(path) as search:
        monkeypatch.setattr(
            "nas360.baselines.asha.journal.os.fsync", lambda handle: flushed.append(os.fstat(handle).st_size)
        )
        for lines in (2, 4, 6):
            job = search.ask()
            assert len(path.read_bytes().splitlines()) == lines
            assert flushed[-1] == path.stat().st_size
            search.tell(job.trial, job.rung, 0.5)
            assert len(path.read_bytes().splitlines()) == lines + 1
            assert flushed[-1] == path.stat().st_size


@pytest.mark.parametrize("number", [2, 3, 10, -2])
@pytest.mark.parametrize("damage", ["changed", "lost", "doubled", "moved", "torn", "binary", "blank", "nothing"])
def test_damage_is_refused_with_its_line(tmp_path: Path, damage: str, number: int) -> None:
    path = tmp_path / "journal.jsonl"
    lines = whole(path).splitlines(keepends=True)
    at = number - 1 if number > 0 else len(lines) + number
    line = lines[at]
    lines[at : at + 1] = {
        "changed": [line.replace(b"[", b"[1", 1)],
        "lost": [],
        "doubled": [line, line],
        "moved": [lines[at + 1], line],
        "torn": [line[:-10] + b"\n"],
        "binary": [b"\xff\x00" + line],
        "blank": [b"\n", line],
        "nothing": [line],
    }[damage]
    if damage == "moved":
        del lines[at + 2]
    content = b"".join(lines)
    path.write_bytes(content)
    if damage == "nothing":  # the test's own handling does no damage
        with begin(path) as search:
            assert search.scheduler.finished
        return
    found = at + 2 if damage == "doubled" else at + 1
    with pytest.raises(RunError, match=rf"journal.jsonl, line {found}: (this line or one before|no line of a journal)"):
        begin(path).__enter__()
    assert path.read_bytes() == content  # nothing is mended behind the user's back


def test_every_changed_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    content = whole(path)
    end = content.index(b"\n", content.index(b"\n") + 1)
    for place in [*range(0, end, 11), *range(end - 40, end)]:
        for bit in (0, 5):
            path.write_bytes(content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :])
            with pytest.raises(RunError, match=r"line [12]: "):
                begin(path).__enter__()


def signed(entries: list[Any]) -> bytes:
    """Lines with right checks, whatever they say."""
    content, check = b"", 0
    for entry in entries:
        body = json.dumps(entry).encode()[:-1]
        check = zlib.crc32(body, check)
        content += body + f', "check": "{check:08x}"}}\n'.encode()
    return content


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"ask": [1, 0]}], "line 2: trial 1, rung 0 was asked where trial 0, rung 0 is due"),
        ([{"ask": [0, 0]}, {"tell": [0, 1], "error": 0.5}], "line 3: trial 0, rung 1 was told, but .* for rung 0"),
        ([{"ask": [0, 0]}] + [{"tell": [0, 0], "error": 0.5}] * 2, "line 4: .* has no job in flight"),
        ([{"ask": [0, 0]}, {"tell": [0, 0], "error": math.nan}], "line 3: holds NaN"),
        ([{"ask": [0, 0]}, {"tell": [0, 0]}], "line 3: neither a question nor an answer"),
        ([{"ask": [0, 0], "more": 1}], "line 2: neither a question nor an answer"),
        ([{"ask": 0}], "line 2: neither a question nor an answer"),
    ],
)
def test_lines_that_cannot_have_happened_are_refused(tmp_path: Path, entries: list[Any], message: str) -> None:
    path = tmp_path / "journal.jsonl"
    with begin(path):
        header = json.loads(path.read_bytes())
    del header["check"]
    path.write_bytes(signed([header, *entries]))
    with pytest.raises(RunError, match=message):
        begin(path).__enter__()


def test_more_questions_than_the_plan_has_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    whole(path)
    entries = [json.loads(line) for line in path.read_bytes().splitlines()] + [{"ask": [16, 0]}]
    for entry in entries:
        entry.pop("check", None)
    path.write_bytes(signed(entries))
    with pytest.raises(RunError, match=f"line {len(entries)}: trial 16, rung 0 was asked where nothing is due"):
        begin(path).__enter__()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((plan(17, 64, mode=standard), SPACE, 0, ABOUT), r'another search \(plan: .*"trials": 12.*here\)'),
        ((PLAN, SamplingSpace({"lr": LogUniform(1e-4, 1e-1)}), 0, ABOUT), r"another search \(space: "),
        ((PLAN, SPACE, 1, ABOUT), r"another search \(seed: 0 there, 1 here\)"),
        (
            (PLAN, SPACE, 0, {"task": "other"}),
            r'another search \(about: {"task": "toy"} there, {"task": "other"} here\)',
        ),
        ((PLAN, SPACE, 0, None), r"another search \(about: "),
    ],
)
def test_the_journal_of_another_search_is_refused(tmp_path: Path, settings: Any, message: str) -> None:
    path = tmp_path / "journal.jsonl"
    content = whole(path)
    with pytest.raises(RunError, match=message):
        journalled(path, *settings).__enter__()
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"", b"my notes", b"my notes\n", b'{"a": 1}\n', b"\n"])
def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    message = "notes.txt, line 1: no line of a journal" if content else "notes.txt is empty"
    with pytest.raises(RunError, match=message):
        begin(path).__enter__()
    assert path.read_bytes() == content


def test_one_process_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with begin(path), pytest.raises(RunError, match="another process is at this search"):
        begin(path).__enter__()
    with begin(path) as search:
        assert search.ask() is not None


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be made or written"):
        begin(tmp_path / "file" / "journal.jsonl").__enter__()
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="folder cannot be made or written"):
        begin(tmp_path / "folder").__enter__()


@pytest.mark.parametrize("told", [False, True])
def test_a_full_disk_stops_the_search_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    content = whole(tmp_path / "whole.jsonl")
    path = tmp_path / "journal.jsonl"

    def full(handle: int) -> None:
        # half of the line got there
        os.truncate(handle, os.fstat(handle).st_size - 5)
        raise OSError(errno.ENOSPC, "No space left on device")

    with begin(path) as search:
        drive(search, 3)
        job = search.ask() if told else None
        with monkeypatch.context() as patch:
            patch.setattr("nas360.baselines.asha.journal.os.fsync", full)
            with pytest.raises(RunError, match=r"cannot be written \(No space left on device\). Make room"):
                search.ask() if job is None else search.tell(job.trial, job.rung, answer(job))
        # room again, but what is in memory and what is on disk may differ now
        with pytest.raises(RunError, match="could not be written before"):
            search.ask()
        with pytest.raises(RunError, match="could not be written before"):
            search.tell(0, 0, 0.5)
    with begin(path) as search:
        drive(search)
    assert path.read_bytes() == content


def test_a_refused_answer_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with begin(path) as search:
        with pytest.raises(RunError, match="has no job in flight"):
            search.tell(0, 0, 0.5)
        search.ask()
        with pytest.raises(ValueError, match="could not convert"):
            search.tell(0, 0, "good")
        assert len(path.read_bytes().splitlines()) == 2
        search.tell(0, 0, 0.5)


WORKER = """
import sys
from pathlib import Path
from nas360.baselines.asha.brackets import plan
from nas360.baselines.asha.journal import journalled
from nas360.baselines.asha.sampling import SamplingSpace, Uniform
with journalled(Path(sys.argv[1]), plan(3000, 64), SamplingSpace({"x": Uniform(0, 1)}), 0) as search:
    while (job := search.ask()) is not None:
        search.tell(job.trial, job.rung, (job.trial * 7919 + job.rung) % 3001 / 3001)
        print(job.trial, flush=True)
"""


def test_a_real_kill(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    told = 0
    for jobs in (1, 7, 40):  # killed when so many were told
        process = subprocess.Popen([sys.executable, "-c", WORKER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(jobs):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.stdout.close()
        process.wait()
        told += jobs
        lines = path.read_bytes().split(b"\n")
        assert sum(b"tell" in line for line in lines[:-1]) >= told
    # the lock fell with the process, and what it left is the beginning of the unbroken search
    planned, space = plan(3000, 64), SamplingSpace({"x": Uniform(0, 1)})
    with journalled(path, planned, space, 0) as search:
        seen = list(search.scheduler.outcomes())
    unbroken = Scheduler(planned, space, 0)
    for _ in seen:
        job = unbroken.ask()
        assert job is not None
        unbroken.tell(job.trial, job.rung, (job.trial * 7919 + job.rung) % 3001 / 3001)
    assert list(unbroken.outcomes()) == seen
