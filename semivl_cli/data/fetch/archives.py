"""Unpacks tar and zip archives of strangers: all or nothing, nothing outside the folder, no links.

`tarfile` and `zipfile` refuse or quietly rename an evil entry while they write; here the whole archive is looked
at before the first byte is written, and only plain files are.
"""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import accumulate
from pathlib import Path

from semivl_cli.data.contract import Say
from semivl_cli.data.fetch.archive_entries import Packed, list_entries
from semivl_cli.data.fetch.progress_lines import Pace, in_bytes
from semivl_cli.errors import InputError, RunError, SemiVLError
from semivl_cli.files import FULL, replacing
from semivl_cli.limits import UNPACKED

MAX_GROWTH = 100
"""An archive may unpack to so many times its own size, or to `SMALL`; what grows more is a bomb."""
SMALL = 2**30


def unpack(archive: Path, folder: Path, report: Say, *, known: Sequence[str] = ()) -> int:
    """Unpack a tar (also .gz, .bz2, .xz) or zip archive into a folder, which need not exist; return how much was new.

    A file that is there already stays as it is. Links become copies of what they name. Hidden files of macOS are left
    out. Until the last file is unpacked, everything lies in a hidden folder inside `folder`, which is removed if
    anything goes wrong. Of `known` the archive must hold at least one name, as folder or file.

    Raises:
        InputError: the archive is damaged, is not one, holds none of `known`, or holds something that would leave the
            folder, a device, or far more than its size can justify.
        RunError: the disk is full.
    """
    with _in_one_line(archive), ExitStack() as stack:
        files = _list_files(archive, stack)
        if known and not any(name in path.split("/") for path in files for name in known):
            raise InputError(f"{archive}: holds none of {', '.join(known)}: is it the right archive?")
        total = sum(file.size for file in files.values())
        there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        free = shutil.disk_usage(there).free
        if total > free:
            raise RunError(
                f"unpacking {archive.name} needs {in_bytes(total)} in {folder}, where {in_bytes(free)} are free"
            )
        report(f"unpacking {archive.name}: {len(files)} files, {in_bytes(total)}")
        hidden = folder / f".{archive.name}.unpacking"
        shutil.rmtree(hidden, ignore_errors=True)  # of a process that was killed
        try:
            _write(files, hidden, Pace(report, f"unpacking {archive.name}"))
            return _move(files, hidden, folder)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)


def _list_files(archive: Path, stack: ExitStack) -> dict[str, Packed]:
    """Return the files of an archive by path, after looking at each; a link stands for the file that it names."""
    entries: dict[str, Packed | str] = {}
    total = 0
    for path, entry in list_entries(archive, stack):
        total += entry.size if isinstance(entry, Packed) else 0
        _check_growth(archive, total)
        if entry is None:
            continue
        if not path:
            raise InputError(f"{archive}: a file has no name: refused, nothing was unpacked")
        name = posixpath.basename(path)
        if not (path.startswith("__MACOSX/") or name == ".DS_Store" or name.startswith("._")):  # of macOS
            entries[path] = entry
    if not entries:
        raise InputError(f"{archive}: the archive holds no file")
    for path in entries:
        if any(parent in entries for parent in accumulate(path.split("/")[:-1], posixpath.join)):
            raise InputError(f"{archive}: {path!r} lies inside something that is a file")
    files = _linked_files(archive, entries)
    _check_growth(archive, sum(file.size for file in files.values()))  # copies of links count
    return files


def _check_growth(archive: Path, total: int) -> None:
    """Refuse more than an archive of its size can mean; where the user set `UNPACKED`, that rules alone."""
    size = archive.stat().st_size
    growth = UNPACKED.most * 2**30 if os.environ.get(UNPACKED.variable) else max(SMALL, MAX_GROWTH * size)
    most = min(growth, UNPACKED.most * 2**30)
    if total > most:
        raise InputError(
            f"{archive}: {in_bytes(size)} that unpack to more than {in_bytes(most)}: refused; if it is meant, set "
            f"{UNPACKED.variable} to as many GiB as it may take"
        )


def _linked_files(archive: Path, entries: Mapping[str, Packed | str]) -> dict[str, Packed]:
    """Return the file whose content stands at each path, through links to links."""
    files = {path: entry for path, entry in entries.items() if isinstance(entry, Packed)}
    for path in entries:
        chain: list[str] = []
        here = path
        while here not in files:
            if here not in entries or len(chain) > len(entries):
                raise InputError(f"{archive}: {path!r} is a link to {here!r}, which is no file in the archive")
            chain.append(here)
            here = str(entries[here])  # no file, so a link
        for link in chain:
            files[link] = files[here]
    return {path: files[path] for path in entries}


def _write(files: Mapping[str, Packed], hidden: Path, pace: Pace) -> None:
    written: dict[int, Path] = {}
    for number, (path, (size, place, open_)) in enumerate(files.items(), 1):
        target = hidden / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if place in written:  # a link; the archive would have to be unpacked once more to come back there
            shutil.copyfile(written[place], target)
        else:
            with open_() as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, 2**20)
                if file.tell() != size:
                    raise EOFError(f"{path} has {file.tell()} bytes instead of {size}")
        written[place] = target
        pace.step(number, len(files))


def _move(paths: Iterable[str], hidden: Path, folder: Path) -> int:
    """Move files to where they belong and return how many were new."""
    new = 0
    for path in paths:
        target = folder / path
        if os.path.lexists(target):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            (hidden / path).replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with replacing(target) as beside:  # a folder of the user's that lies on another disk
                shutil.copyfile(hidden / path, beside)
        new += 1
    return new


@contextmanager
def _in_one_line(archive: Path) -> Iterator[None]:
    """Turn whatever a reader or the disk raises into one line."""
    try:
        yield
    except SemiVLError:
        raise
    except OSError as error:
        if error.errno in FULL:
            raise RunError(
                f"{archive.name} could not be unpacked: the disk is full; nothing was left behind"
            ) from error
        raise InputError(f"{archive}: cannot be unpacked ({_said(error)})") from error
    except Exception as error:  # readers trip over a damaged archive in any way
        raise InputError(f"{archive}: the archive is damaged ({_said(error)}): fetch it again") from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
