"""A `nas360` command that ends with the process that wanted it: `python -m nas360.bench.child ARGUMENTS`.

Whoever starts it holds a pipe to its standard input. When that process ends, in whatever way, the system closes the
pipe, and so nothing goes on that nobody waits for. This needs no signal and no polling, and is the same on every
system.
"""

from __future__ import annotations

import os
import runpy
import threading

ABANDONED = 75
"""Exit code of a command that nobody waits for any more (EX_TEMPFAIL of sysexits.h: try again later)."""


def end_with_input() -> None:
    """From now on, end this process when its standard input is closed."""

    def wait() -> None:
        # not sys.stdin, whose lock the end of the interpreter would wait for
        while os.read(0, 1024):
            pass
        os._exit(ABANDONED)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    end_with_input()
    runpy.run_module("nas360", run_name="__main__", alter_sys=True)
