"""Reading foreign Parquet and HDF5 files in a process of its own.

Their libraries are written in C++ and C, and a damaged or hostile file can make them abort the process or loop for ever
(both were met with single bytes changed). A child process reads the file and hands over plain arrays; when it dies, or
takes too long, that is a fault of the file like any other.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas360.errors import PredictionsError
from nas360.prediction_formats import Read, read_npz

TIMEOUT_SECONDS = 300.0
USER_FAULT = 2


def read_apart(path: Path, limit: int) -> Read:
    """Read a .parquet or .h5 file; see `nas360.prediction_tables` for its form."""
    with tempfile.TemporaryDirectory(prefix="nas360-") as folder:
        handed = Path(folder) / "values.npz"
        # -P: a module in the folder at hand must not be taken for a library
        command = [
            sys.executable,
            "-P",
            "-X",
            "utf8",
            "-m",
            __name__,
            str(path.absolute()),
            str(path),
            str(limit),
            str(handed),
        ]
        ids = json.loads(run_apart(command, path))
        names, values = read_npz(handed, 8 * limit)
        return (None if ids is None else tuple(ids)), (values if names is None else list(values))


def run_apart(command: Sequence[str], path: Path, timeout: float = TIMEOUT_SECONDS) -> str:
    """Run a child and give what it wrote.

    Raises:
        PredictionsError: with the child's message when it found a fault, and also when it crashed or took too long.
    """
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, encoding="utf-8")
    except subprocess.TimeoutExpired as cause:
        raise PredictionsError(f"{path}: not read within {timeout:g} s, so it is damaged. Write it again") from cause
    if child.returncode == USER_FAULT:
        raise PredictionsError(child.stderr.strip())
    if child.returncode:
        last = (child.stderr.strip().splitlines() or ["no message"])[-1][:200]
        raise PredictionsError(f"{path}: not a whole file: its library crashed on it ({last}). Write it again")
    return child.stdout


def hand_over(file: Path, shown_as: Path, limit: int, handed: Path) -> int:
    """The child's part: read, write the values to `handed`, and the ids as JSON to standard output.

    Returns:
        The exit code.
    """
    from nas360 import prediction_tables
    from nas360.predictions import write_predictions

    readers = {".parquet": prediction_tables.read_parquet, ".h5": prediction_tables.read_h5}
    try:
        ids, values = readers[file.suffix.lower()](file, limit)
    except PredictionsError as error:
        sys.stderr.write(str(error).replace(str(file), str(shown_as)))
        return USER_FAULT
    # arrays of different shapes are named by their row, for ids may stand twice and must be told later
    rows = None if isinstance(values, np.ndarray) else [str(row) for row in range(len(values))]
    write_predictions(handed, rows, values)
    sys.stdout.write(json.dumps(ids))
    return 0


if __name__ == "__main__":
    sys.exit(hand_over(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
