"""The errors that nas360 raises on purpose.

A `UserError` is one that its reader can mend: its message says what came, what was allowed and what to do, and the
command line prints it alone, without a traceback, and leaves with `exit_code` 2. Everything else is a fault of ours
(exit code 1).
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_FAULTS = 20


class Nas360Error(Exception):
    """Root of the family."""

    exit_code = 1


class UserError(Nas360Error):
    """Something given to nas360 is not as it must be."""

    exit_code = 2


class UnknownNameError(UserError, KeyError):
    """A name that no registry entry has."""

    def __str__(self) -> str:
        # KeyError shows the repr of its argument, which would print the message in quotes with escaped line ends
        return str(self.args[0])


class RawDataError(UserError):
    """A raw distribution is missing, damaged, or not in its official layout."""


class DatasetError(UserError):
    """A dataset repository cannot be found or is not whole."""


class PredictionsError(UserError):
    """A predictions file does not fit the task."""


class ResultError(UserError):
    """A result file breaks the schema or a rule of the benchmark."""


class RunError(UserError):
    """A run was asked for that cannot be done, or its folder holds another run."""


class HubError(UserError):
    """The Hugging Face Hub cannot be reached, or refuses what was asked of it."""


class MissingExtraError(UserError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        self._given = package, extra
        super().__init__(
            f"this needs {package}, which is not installed. Install it with: pip install 'nas360[{extra}]'"
        )

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        # exceptions pickle by their `args`, the message
        return type(self), self._given


def first_faults(faults: Sequence[str]) -> list[str]:
    """The first `MAX_FAULTS` faults and, where there are more, a line that counts the rest.

    Example:
        >>> first_faults(["fault"] * 22)[-2:]
        ['fault', 'and 2 more']
    """
    more = len(faults) - MAX_FAULTS
    return [*faults[:MAX_FAULTS], *([f"and {more} more"] if more > 0 else [])]
