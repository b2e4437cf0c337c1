"""The door to the disk: whole writes, hashes, locks, cache folders and the listing of images."""

from __future__ import annotations

import errno
import functools
import glob
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import platformdirs
from filelock import FileLock, Timeout
from safetensors import SafetensorError

from semivl_cli.errors import InputError, RunError

if sys.platform != "win32":
    import fcntl

FULL = (errno.ENOSPC, errno.EDQUOT)
"""How the system says that a disk, or a user's share of it, is full."""

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.part")

_NO_PICTURES = frozenset(
    "BUFR GRIB HDF5 IPTC EPS WMF FLI MPEG CUR ICO ICNS GBR PSD SGI".split()  # noqa: SIM905 - names read as a line
)
"""Formats of Pillow that nobody keeps photographs or masks in: containers of which it reads the head alone, vector
graphics, films, icons, brushes, layers of a work in progress, and SGI, whose `.rgb` and `.bw` mostly mean other things.
"""


_LITTER = frozenset(
    ("__macosx", "@eadir", "$recycle.bin", "desktop.ini", "lost+found", "system volume information", "thumbs.db")
)
"""What systems leave in folders beside the user's files, in lower case."""


# Writing


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a name beside `path` to write to, which becomes `path` at the end: nobody ever meets half a file.

    `durable`: the disk holds the file, and its name, before this returns. What is raised leaves nothing behind but what
    was there before; what a killed process left goes when the next one writes into the folder.
    """
    _sweep_abandoned(path.parent)
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with _in_use(temporary):
            yield temporary
            if durable:
                sync(temporary)
            temporary.replace(path)
        if durable:
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _in_use(temporary: Path) -> Iterator[None]:
    """Make a file that others can see is being written: its lock dies with this process."""
    if sys.platform == "win32":  # which renames no file that is open
        yield
        return
    number = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with suppress(OSError):  # a file system without locks: nothing is swept there either
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(number)


@functools.cache
def _sweep_abandoned(folder: Path) -> None:
    """Remove, once a process, what killed ones left of `replacing` in a folder: files that nobody has locked."""
    if sys.platform == "win32":
        return
    with suppress(OSError, ValueError), os.scandir(folder) as inside:
        for entry in inside:
            if not _TEMPORARY.fullmatch(entry.name):
                continue
            with suppress(OSError), open(entry.path, "r+b") as file:  # noqa: PTH123 - as scandir gives it
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(entry.path)  # noqa: PTH108 - likewise


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; raises `OSError`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what a full or broken disk raises while `path`, a part of a run, is written into one line.

    Raises:
        RunError: the file cannot be written; the run stands at its last checkpoint.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise RunError(
            f"cannot write {path} ({reason}): the run stands at its last checkpoint; make room, then semivl train "
            "--resume goes on from there"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a file of a run, so that not even a power cut leaves half of it.

    Raises:
        RunError: it cannot be written; what was there before is as it was.
    """
    with writing(path), replacing(path, durable=True) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON object of a run; raises `RunError` as `write_text` does."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    # Bytes of a file name that are no UTF-8 become escapes, which readers turn back into that name.
    write_text(path, text.encode("utf-8", "backslashreplace").decode("utf-8"))


def append_line(path: Path, line: str) -> None:
    """Append a line to a file of a run, whole or not at all; raises `RunError` where it cannot be written."""
    with writing(path), path.open("ab") as file:
        before = file.tell()
        try:
            file.write(line.encode() + b"\n")
            file.flush()
        except OSError:
            os.truncate(path, before)
            raise


@contextmanager
def replacing_folder(folder: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give an empty folder beside `folder` to fill, which takes its place at the end; the rest is as in `replacing`."""
    temporary = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for path in (*temporary.iterdir(), temporary) if durable else ():
            sync(path)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
        if durable:
            sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what a killed process left half-written in a folder, and checkpoints that were set aside."""
    for path in folder.glob(".*"):
        if path.suffix in (".part", ".tmp", ".damaged"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def sync(path: Path) -> None:
    """Wait until the disk holds a file, or the names in a folder; raises `OSError`."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders, and keeps names without being asked
    number = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


# Hashes, locks, caches


def blocks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file, however large, piece by piece; raises `OSError`."""
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block


def is_file(path: Path) -> bool:
    """Whether there is a file; no error where no file can have such a name, or it cannot be looked for."""
    return os.path.isfile(path)  # noqa: PTH113 - a Path raises


def file_stamp(path: Path) -> str:
    """Return size and time of a file, which change when it is written; nothing where there is none."""
    try:
        state = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return ""
    return f"{state.st_size}-{state.st_mtime_ns}" if stat.S_ISREG(state.st_mode) else "folder"


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits; raises `OSError`."""
    digest = hashlib.sha256()
    for block in blocks(path):
        digest.update(block)
    return digest.hexdigest()


@contextmanager
def locked(path: Path, *, busy: str, refused: Callable[[OSError], str]) -> Iterator[None]:
    """Hold the lock `path`, in a folder that is made if need be; the lock dies with its process.

    Raises:
        InputError: `busy`, where another process holds it; what `refused` says, where it cannot be written.
    """
    lock = FileLock(path, mode=0o666)  # as far as the umask lets it: a group may share a run
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(busy) from error
    except OSError as error:
        raise InputError(refused(error)) from error
    try:
        yield
    finally:
        lock.release()


def cache_folder(name: str) -> Path:
    """Return where things of one kind are kept that can be made again: below `$SEMIVL_CACHE`, else the user's cache.

    Raises:
        InputError: the user has no home, and in the folder of temporary files another's folder lies in the way.
    """
    given = os.environ.get("SEMIVL_CACHE")
    if given:
        return Path(given) / name
    try:
        return platformdirs.user_cache_path("semivl", appauthor=False) / name
    except RuntimeError as error:  # no home, as where a container runs with a number that has no name
        folder = Path(tempfile.gettempdir()) / f"semivl-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise InputError(f"there is no home directory, and {folder} is another's: set SEMIVL_CACHE") from error
        return folder / name


# Images on the disk


@functools.cache
def image_suffixes() -> frozenset[str]:
    """Return the suffixes, in lower case, of files that are images or masks: of what Pillow reads."""
    from PIL import Image  # noqa: PLC0415 - whoever writes a file or hashes it needs no Pillow

    known = Image.registered_extensions()  # reads all of Pillow's formats
    return frozenset(
        suffix for suffix, format_ in known.items() if format_ in Image.OPEN and format_ not in _NO_PICTURES
    )


def bare(name: str) -> str:
    """Return a name of a picture without its suffix; other dots are part of the name."""
    suffix = PurePosixPath(name).suffix
    return name[: -len(suffix)] if suffix.lower() in image_suffixes() else name


def is_image(name: str) -> bool:
    """Whether a file of this name is an image or a mask; what `is_hidden` is not."""
    # A Path for each of millions of names is slow.
    return os.path.splitext(name)[1].lower() in image_suffixes() and not is_hidden(name)  # noqa: PTH122


def is_hidden(name: str) -> bool:
    """Whether a file or folder is none of the user's: hidden, such as macOS's `._7.png`, or left by a system."""
    return name.startswith(".") or name.lower() in _LITTER


ABSENT = -1
"""The time of a folder that is not there."""


class Content(NamedTuple):
    """What a folder holds, sorted by name, without what is hidden."""

    folder: Path
    changed: int
    """When names came or went last, in ns, or `ABSENT`; asked before they were read: nothing later is missed."""
    files: list[str]
    folders: list[str]


def read_folder(folder: Path) -> Content:
    """List a folder; an absent one holds nothing, and one that cannot be read raises `InputError`."""
    names: dict[bool, list[str]] = {False: [], True: []}  # by whether they are folders
    try:
        changed = folder.stat().st_mtime_ns
        with os.scandir(folder) as inside:
            for entry in inside:
                if not is_hidden(entry.name):
                    names[_is_folder(entry)].append(entry.name)
    except FileNotFoundError:
        return Content(folder, ABSENT, [], [])
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be read ({error.strerror or error})") from error
    return Content(folder, changed, sorted(names[False]), sorted(names[True]))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or to where nobody may look
        return False


def walk(
    top: Path,
    note: Callable[[str], None] = lambda _: None,
    unreadable: Callable[[Path, InputError], None] | None = None,
) -> Iterator[Content]:
    """List a folder and all below it, files before folders, each in order.

    Links are followed, but not to a folder around them, which would have no end, nor twice to the same folder; `note`
    takes a line about such a one. A folder that cannot be read raises `InputError`, or is given to `unreadable`.
    """
    waiting: list[tuple[Path, tuple[str, ...]]] = [(top, (os.path.realpath(top),))]
    followed: dict[str, Path] = {}  # where links led -> the first of them
    while waiting:
        folder, real = waiting.pop()  # the folder, and the real folders on the way to it
        try:
            content = read_folder(folder)
        except InputError as error:
            if unreadable is None:
                raise
            unreadable(folder, error)
            continue
        yield content
        inner = []
        for name in content.folders:
            target = os.path.realpath(folder / name)
            if target != os.path.join(real[-1], name):  # noqa: PTH118 - a link; one a folder, of which there may be many
                if any(Path(one).is_relative_to(target) for one in real):
                    note(f"{folder / name} links to a folder above it: not followed")
                    continue
                if followed.setdefault(target, folder / name) != folder / name:
                    note(f"{folder / name} links to the same folder as {followed[target]}: not followed")
                    continue
            inner.append((folder / name, (*real, target)))
        waiting.extend(reversed(inner))


def fitting(pattern: str) -> Iterator[str]:
    """Yield the names that a pattern fits, maybe twice; `**` is what `walk` finds: glob follows links in circles."""
    top, deep, rest = (f"{pattern}/*" if pattern.endswith("**") else pattern).partition("**/")
    if not deep or (top and not top.endswith("/")):
        yield from glob.iglob(pattern)  # noqa: PTH207 - the pattern may be absolute
        return
    for base in glob.iglob(top or "."):  # noqa: PTH207 - as above
        for found in walk(Path(base)) if Path(base).is_dir() else ():
            yield from fitting(f"{glob.escape(str(found.folder))}/{rest}")


def folds_case(folder: Path) -> bool:
    """Whether names in a folder that differ in case alone are one file, as on most disks of Windows and macOS."""
    try:
        with tempfile.NamedTemporaryFile(prefix=".semivl-", suffix=".part", dir=folder) as file:
            return Path(file.name.replace(".part", ".PART")).exists()
    except OSError:
        return False
