"""Files that hold others or arrays, whose bytes hang on nothing but their content."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping

from nas360.loaders.base import Array


def tar(files: Mapping[str, bytes]) -> bytes:
    """A tar archive of files by name, in their order, without owners and times."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def tar_gz(files: Mapping[str, bytes]) -> bytes:
    """The same, compressed."""
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1, mtime=0) as packed:
        packed.write(tar(files))
    return stream.getvalue()


def mat5(variables: Mapping[str, Array], *, compressed: bool = False) -> bytes:
    """A MATLAB file of version 5."""
    from scipy.io import savemat

    stream = io.BytesIO()
    # the documentation admits a stream, the type stubs do not
    savemat(stream, dict(variables), do_compression=compressed)  # type: ignore[arg-type]
    # scipy writes the time of writing into the first 116 bytes, which are text for people
    return b"MATLAB 5.0 MAT-file, made up by nas360".ljust(116) + stream.getvalue()[116:]
