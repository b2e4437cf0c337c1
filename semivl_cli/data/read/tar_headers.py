"""The headers of a tar file, one after the other, whoever wrote them: none without end, none that leads backwards."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from typing import IO, cast

_MOST = 2**16
"""Bytes of all headers of one entry, such as those of a long name, and of their numbers' digits."""
_NO_NUMBER = re.compile(rb"\d{64}")
_BLOCK = 512


class DamagedTarError(tarfile.ReadError):
    """What is wrong, and at which byte."""

    def __init__(self, reason: str, at: int) -> None:
        super().__init__(f"{reason} at byte {at}")
        self.reason, self.at = reason, at


def tar_headers(stream: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    """Yield what stands in a tar file that is not packed, or is unpacked while it is read; nothing is kept.

    Raises:
        DamagedTarError: it is no tar file, damaged or cut off, or a header is one that no program writes.
    """
    guarded = _Guarded(stream)
    at = 0
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", guarded), mode="r:") as tar:
            while True:
                guarded.left = _MOST
                if (entry := tar.next()) is None:
                    break
                if entry.size < 0 or tar.offset <= at:
                    raise tarfile.ReadError(f"{entry.name[:200]!r} has a size below 0")
                at = tar.offset
                tar.members = []  # type: ignore[attr-defined]  # typeshed forgot it; else all would be kept
                yield entry
        if any(guarded.last):  # tarfile takes a header that makes no sense for the end
            raise tarfile.ReadError("no header there")
    except (LookupError, ValueError, RecursionError, TypeError, AttributeError, tarfile.TarError) as error:
        raise DamagedTarError(str(error) or type(error).__name__, at) from error


class _Guarded:
    """A stream of which `tarfile` gets no more than headers can have: it reads as much as they claim, at once."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.left = _MOST
        self.last = b""
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self.left:
            raise tarfile.ReadError(f"a header of more than {_MOST} bytes")
        self.left -= size
        data = self._stream.read(size)
        if size > _BLOCK and _NO_NUMBER.search(data):  # which tarfile would look at once for each of its digits
            raise tarfile.ReadError("a header with an endless number")
        self.last = data
        return data
