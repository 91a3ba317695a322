"""The folder of a run: its files, who may write there, and whether it is this run's at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nas360.baselines.checkpoint import Checkpoints
from nas360.baselines.runlog import RunLog
from nas360.errors import ResultError, RunError
from nas360.files import sha256_file
from nas360.results import ResultFile, SeedRow, load_result


def default_folder(method: str, task: str, seed: int) -> Path:
    """`runs/<method>/<task>/seed<k>`; a colon, which Windows does not take, becomes a line.

    Example:
        >>> default_folder("timm:resnet18", "cifar100", 0).as_posix()
        'runs/timm-resnet18/cifar100/seed0'
    """
    return Path("runs") / method.replace(":", "-") / task / f"seed{seed}"


@dataclass(frozen=True)
class RunFolder:
    """The files of one run.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def predictions(self) -> Path:
        """Predictions of the evaluated split."""
        return self.path / "predictions.npz"

    @property
    def architecture(self) -> Path:
        """What was trained."""
        return self.path / "architecture.json"

    @property
    def picture(self) -> Path:
        """A drawing of what was trained."""
        return self.path / "architecture.svg"

    @property
    def result(self) -> Path:
        """The result; written last, so that it is there exactly when the run is finished."""
        return self.path / "result.json"

    @property
    def log(self) -> RunLog:
        """The log."""
        return RunLog(self.path / "log.jsonl")

    @property
    def search_log(self) -> RunLog:
        """The log of a search."""
        return RunLog(self.path / "search.jsonl")

    @property
    def search_checkpoints(self) -> Checkpoints:
        """The checkpoints of a search."""
        return Checkpoints(self.path / "search")

    @property
    def trials(self) -> list[Path]:
        """What a search by trials keeps: its journal, and a folder with checkpoints for each trial under way."""
        search = self.search_checkpoints.folder
        return [path for pattern in ("journal.jsonl", "trial*") for path in search.glob(pattern)]

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints."""
        return Checkpoints(self.path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process out; the lock falls when the process ends, however it ends.

        Raises:
            RunError: another process has it, or the folder cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock")
            lock.acquire(timeout=0)
        except Timeout as cause:
            raise RunError(
                f"another process is running in {self.path}. Wait for it, or choose another --out"
            ) from cause
        except OSError as cause:
            raise RunError(f"{self.path} cannot be made or written ({cause.strerror}). Choose another --out") from cause
        try:
            # a killed run leaves the temporary file that it was writing
            for leftover in (*self.path.glob(".*.tmp.*"), *self.path.glob("search/**/.*.tmp.*")):
                leftover.unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    def clear(self) -> None:
        """Remove the run's files; anything else in the folder stays.

        The result goes first, so that nobody takes the rest for a finished run; the log goes last, since it says of
        which run the others are, also when a kill leaves some of them.
        """
        self.result.unlink(missing_ok=True)
        self.checkpoints.delete()
        self.search_checkpoints.delete()
        for path in self.trials:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        self.predictions.unlink(missing_ok=True)
        self.architecture.unlink(missing_ok=True)
        self.picture.unlink(missing_ok=True)
        self.search_log.path.unlink(missing_ok=True)
        self.log.path.unlink(missing_ok=True)

    def begin(self, header: Mapping[str, Any], *, resume: bool, overwrite: bool) -> ResultFile | None:
        """Make the folder this run's.

        Args:
            header: first line of the log; its `identity` tells runs apart.
            resume: go on with this run where it was stopped.
            overwrite: remove whatever run is there.

        Returns:
            The result if this run is finished already, else None; the log is then begun or that of this very run.

        Raises:
            RunError: the folder holds another run, one that was not finished, or a file that belongs to no run; or
                the predictions are not those of the result.
            ResultError: the result is damaged.
        """
        if overwrite:
            self.clear()
        present = self.log.header()
        if present is None:
            own = [
                self.result,
                *self.checkpoints.paths,
                *self.search_checkpoints.paths,
                self.search_log.path,
                *self.trials,
            ]
            own += [self.predictions, self.architecture, self.picture]
            strays = [str(path.relative_to(self.path)) for path in own if path.exists()]
            if strays:
                raise RunError(
                    f"{self.path} holds {', '.join(strays)} but no log.jsonl, so that nobody can say of which run. "
                    f"Use another --out, or --overwrite"
                )
            self.log.start(dict(header))
            return None
        if faults := list(differences(present["identity"], header["identity"])):
            listed = "".join(f"\n  - {fault}" for fault in faults)
            raise RunError(f"{self.path} holds another run:{listed}\nUse another --out, or --overwrite to replace it")
        if self.result.exists():
            return self._finished()
        if not resume:
            raise RunError(
                f"{self.path} holds this run, unfinished. Go on with --resume, or begin anew with --overwrite"
            )
        return None

    def _finished(self) -> ResultFile:
        try:
            result = load_result(self.result)
        except ResultError as cause:
            raise ResultError(f"{cause}\n{self._repair(self.result)}") from cause
        for row in result.results:
            stored = row.predictions if isinstance(row, SeedRow) else None
            if stored is None:
                continue
            if not self.predictions.is_file():
                fault = "is missing"
            elif sha256_file(self.predictions) != stored.sha256:
                fault = "is not the file that the result was computed from"
            else:
                continue
            raise RunError(f"{self.predictions} {fault}. {self._repair(self.predictions)}")
        return result

    def _repair(self, path: Path) -> str:
        return (
            f"Put {path.name} back; or delete result.json and go on with --resume, which predicts again from the last "
            f"checkpoint; or train anew with --overwrite"
        )


def differences(there: Any, asked: Any, path: str = "") -> Iterator[str]:
    """How two identities differ, one line a value.

    Example:
        >>> list(differences({"seed": 0, "recipe": {"lr": 1}}, {"seed": 0, "recipe": {"lr": 2}}))
        ['recipe.lr is 1 there, 2 was asked for']
    """
    if isinstance(there, Mapping) and isinstance(asked, Mapping):
        for key in sorted({*there, *asked}, key=str):
            yield from differences(there.get(key), asked.get(key), f"{path}.{key}" if path else str(key))
    elif there != asked:
        yield f"{path} is {there!r} there, {asked!r} was asked for"
