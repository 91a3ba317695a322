"""A function call in a process of its own: `python -m nas360.bench.call FILE CALL`, for jobs that are no command.

CALL is a pickled function with its arguments, in base64; FILE takes what it returns, pickled. Both come from the
process that waits for this one, and from nobody else.
"""

from __future__ import annotations

import base64
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nas360.bench.child import end_with_input
from nas360.errors import UserError
from nas360.files import write_bytes

PROGRAM = ("-m", "nas360.bench.call")


def written(function: Callable[..., Any], *arguments: Any) -> str:
    """A call as CALL."""
    return base64.b64encode(pickle.dumps((function, arguments))).decode()


def main(file: str, call: str) -> None:
    """Do it."""
    function, arguments = pickle.loads(base64.b64decode(call))
    try:
        write_bytes(Path(file), pickle.dumps(function(*arguments)))
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    end_with_input()
    main(*sys.argv[1:])
