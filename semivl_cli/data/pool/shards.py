"""Finds the images inside tar shards by their headers alone, once: what was found is kept in the user's cache."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from semivl_cli.data.contract import TarEntry
from semivl_cli.data.read.tar_headers import DamagedTarError, tar_headers
from semivl_cli.errors import InputError
from semivl_cli.files import cache_folder, image_suffixes, replacing
from semivl_cli.processes import clean_context, usable_cores

_FIRST = (".jpg", ".jpeg", ".webp", ".png", ".tif", ".tiff", ".bmp", ".gif", ".ppm", ".pgm")
"""Of several images with one key the first of these counts, else the last in the shard."""

_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")
_BLOCK = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """A tar file of images: WebDataset's samples, of which the image alone is read."""

    path: Path
    images: int
    bytes: int

    def entry(self, number: int) -> TarEntry:
        """Return one of its images, counted from 0."""
        table = _table(self.path)
        if len(table) != self.images:
            raise InputError(f"{self.path} has changed since the training began: it held {self.images} images")
        offset, size = table[number].tolist()
        return TarEntry(shard=self.path, offset=offset * _BLOCK, size=size)


def open_shards(paths: Sequence[Path], say: Callable[[str], None]) -> tuple[Shard, ...]:
    """Count the images of shards; the headers of those that are new or changed are read by several processes.

    Raises:
        InputError: if a shard is absent, compressed, damaged or cut off; names it and the byte.
    """
    sizes = [_size(path) for path in paths]
    new = [path for path in paths if not _cached(path).is_file()]
    if len(new) > 8:  # so few are read before other processes are started
        say(f"reading the headers of {len(new)} tar shards, once; what they hold is kept in {cache_folder('shards')}")
        with ProcessPoolExecutor(min(usable_cores(), len(new)), mp_context=clean_context()) as pool:
            list(pool.map(_count, new, chunksize=4))  # which raises what a process raised
    return tuple(Shard(path=path, images=_count(path), bytes=size) for path, size in zip(paths, sizes, strict=True))


def _count(path: Path) -> int:
    return len(_load(path, "r"))


def _load(path: Path, mmap_mode: Literal["r"] | None = None) -> NDArray[np.uint32]:
    """Return uint32 `[images, 2]`: where each image begins, in blocks of 512 bytes, and its size in bytes."""
    cached = _cached(path)
    try:
        table: NDArray[np.uint32] = np.load(cached, mmap_mode=mmap_mode)
    except (OSError, ValueError):  # none yet, or not whole
        table = _scan(path)
        with suppress(OSError):  # where the cache cannot be written, it is made anew the next time
            cached.parent.mkdir(parents=True, exist_ok=True)
            with replacing(cached) as temporary, temporary.open("wb") as file:
                np.save(file, table)
    return table


_table = functools.lru_cache(maxsize=256)(_load)


def _cached(path: Path) -> Path:
    """Return where the table of a shard is kept: the name tells path, size and time of change."""
    try:
        about = path.stat()
    except OSError as error:
        raise InputError(f"{path}: the shard cannot be read ({error.strerror})") from error
    key = f"1\0{path.absolute()}\0{about.st_size}\0{about.st_mtime_ns}".encode("utf-8", "surrogatepass")
    return cache_folder("shards") / f"{hashlib.sha256(key).hexdigest()[:32]}.npy"


def _size(path: Path) -> int:
    """Return the bytes of a shard; refuse what cannot be read from its middle."""
    try:
        with path.open("rb") as file:
            start = file.read(8)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise InputError(f"{path}: the shard cannot be read ({error.strerror})") from error
    if start.startswith(_COMPRESSED):
        raise InputError(
            f"{path} is compressed, and a compressed shard cannot be read from its middle: unpack it to a plain .tar "
            "(images are compressed already, so it hardly grows)"
        )
    return size


def _scan(path: Path) -> NDArray[np.uint32]:
    """Read all headers of a shard."""
    found: list[tuple[int, int]] = []
    last_key, last_rank = "", 0
    try:
        with path.open("rb") as file:
            for entry in tar_headers(file):
                folder, _, name = entry.name.rpartition("/")
                stem, dot, rest = name.partition(".")
                suffix = dot + rest.lower()
                if not entry.isfile() or not stem or suffix not in image_suffixes():
                    continue
                if entry.issparse() or entry.size >= 2**32 or entry.offset_data >= 2**32 * _BLOCK:
                    raise InputError(f"{path} at byte {entry.offset}: {entry.name} is sparse, or too large or far off")
                key, rank = f"{folder}/{stem}", _FIRST.index(suffix) if suffix in _FIRST else len(_FIRST)
                if found and key == last_key:
                    if rank > last_rank:
                        continue
                    found.pop()
                last_key, last_rank = key, rank
                found.append((entry.offset_data // _BLOCK, entry.size))
    except DamagedTarError as error:
        raise InputError(
            f"{path} at byte {error.at}: the shard is damaged or cut off ({error.reason}): copy it again, or leave it "
            "out"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: the shard cannot be read ({error.strerror})") from error
    return np.array(found, np.uint32).reshape(-1, 2)
