"""The version of this package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("nas360")
except PackageNotFoundError:  # a checkout that nobody installed
    __version__ = "0.0.0"
