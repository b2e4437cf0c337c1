"""Fetches large files over HTTP: goes on where an earlier process stopped, checks size and checksum, then renames."""

from __future__ import annotations

import errno
import hashlib
import http
import http.client
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Annotated, Any

from pydantic import Field

from semivl_cli.data.contract import Say
from semivl_cli.data.fetch.progress_lines import Pace, in_bytes
from semivl_cli.documents import Document, read_json
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import FULL, blocks, write_bytes

TIMEOUT = 30.0
"""Seconds of silence after which a connection counts as broken."""
PAUSES = (1.0, 5.0, 20.0)
"""Seconds before a broken connection is tried again; a try that brought something starts from the first."""

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class _Version(Document):
    """What stands beside a part: the server's name for what it is a part of, as a header can carry it."""

    version: Annotated[str, Field(pattern=r"^[ -~]*$")] | None


class _ChangedError(Exception):
    """What was fetched earlier and what the server has now are different files."""

    def __init__(self) -> None:
        super().__init__("the server's ranges do not fit together")


def fetch(url: str, target: Path, report: Say, *, size: int | None = None, md5: str | None = None) -> str:
    """Fetch a file, or go on fetching it, and return its SHA-256; a file that is there already is only checked.

    Until all is there, it is called `<name>.part`, with `<name>.part.json` beside it, which says which version on the
    server it is a part of. `size` (in bytes) and `md5` are what is published, where something is.

    Raises:
        InputError: the file is not what was published; a part that cannot become it is removed.
        RunError: the server does not answer or the disk is full; what has come is kept, and the next call goes on.
    """
    if target.is_file():
        sha256, problem = _check(target, report, size, md5)
        if problem:
            raise InputError(f"{target}: is not what was published ({problem}): move it away and try again")
        return sha256
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    _fetch_part(url, part, report, size)
    sha256, problem = _check(part, report, size, md5)
    if problem:
        _remove(part)
        raise InputError(f"{url}: what came is not what was published ({problem}): it is removed, try again")
    part.replace(target)
    _remove(part)
    return sha256


def _fetch_part(url: str, part: Path, report: Say, size: int | None) -> None:
    """Fetch until `part` is complete, over as many connections as it takes."""
    name, tries = part.stem, 0
    while True:
        before = _size(part)
        try:
            return _one_connection(url, part, report, size)
        except _ChangedError as error:
            report(f"{name}: what was begun is no part of what the server has now: starting again")
            _remove(part)
            problem: Exception = error
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR:
                raise RunError(f"{url}: the server answers {error.code} {error.reason}; {_kept(part)}") from error
            problem = error
        except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: of a header that is nonsense
            number = error.errno if isinstance(error, OSError) else None
            if number in FULL:
                raise RunError(f"{name} could not be fetched: the disk is full; {_kept(part)}") from error
            if number in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise InputError(f"{part}: cannot be written ({error})") from error
            problem = error
        tries = 1 if _size(part) > before else tries + 1
        reason = " ".join(str(problem).split()).removeprefix("<urlopen error ").removesuffix(">")
        if tries > len(PAUSES):
            raise RunError(f"{url}: cannot be fetched ({reason}); {_kept(part)}") from problem
        pause = PAUSES[tries - 1]
        report(f"{name}: {reason}; trying again in {pause:.0f} s")
        time.sleep(pause)


def _one_connection(url: str, part: Path, report: Say, size: int | None) -> None:
    """Fetch as much as one connection brings; returns when the part is complete."""
    have = _size(part)
    version = _read_version(part)
    headers = {"User-Agent": "semivl"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if version:
            headers["If-Range"] = version
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not have:
            raise
        # Nothing comes after the part: it is complete, or of a file that was longer.
        told = (error.headers.get("Content-Range") or "").rpartition("/")[2]
        error.close()
        if have == (int(told) if told.isdecimal() else size):
            return
        raise _ChangedError from error
    with response:
        start, total_bytes = _extent(response, have)
        if size is not None and total_bytes not in (None, size):
            raise InputError(f"{url}: the server has {total_bytes} bytes, published are {size}: it is another file")
        total = total_bytes if size is None else size
        free = shutil.disk_usage(part.parent).free
        if total is not None and total - start > free:
            raise RunError(
                f"{part.stem} needs {in_bytes(total - start)} more in {part.parent}, where {in_bytes(free)} are free; "
                + _kept(part)
            )
        _write_version(part, response.headers)
        done = _receive(response, part, start, total, report)
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")


def _extent(response: Any, have: int) -> tuple[int, int | None]:  # noqa: ANN401 - what urlopen returns
    """Return where the answer begins in the file, and the file's size as far as the server tells it."""
    length = response.headers.get("Content-Length")
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:  # the server knows no ranges, or has a newer version
        return 0, int(length) if length is not None else None
    match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != have:
        raise _ChangedError
    return have, int(match[2]) if match[2] != "*" else have + int(length) if length is not None else None


def _receive(response: IO[bytes], part: Path, start: int, total: int | None, report: Say) -> int:
    name = part.stem
    begun = f", going on after {in_bytes(start)}" if start else ""
    report(f"fetching {name}{f' ({in_bytes(total)})' if total else ''}{begun}")
    pace = Pace(report, f"fetching {name}")
    with part.open("r+b" if part.is_file() else "wb") as file:
        file.truncate(start)
        file.seek(start)
        done = start
        while block := response.read(2**20):
            file.write(block)
            done += len(block)
            pace.step(done, total, in_bytes, start)
    return done


def _check(file: Path, report: Say, size: int | None, md5: str | None) -> tuple[str, str]:
    """Return the SHA-256 of a file; or nothing, and how it differs from what was published."""
    there = file.stat().st_size
    if size is not None and there != size:
        return "", f"{there} bytes instead of {size}"
    md5_sum, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    pace, done = Pace(report, f"checking {file.name.removesuffix('.part')}"), 0
    for block in blocks(file):
        md5_sum.update(block)
        sha256.update(block)
        done += len(block)
        pace.step(done, there, in_bytes)
    if md5 not in (None, md5_sum.hexdigest()):
        return "", f"its MD5 is {md5_sum.hexdigest()} instead of {md5}"
    return sha256.hexdigest(), ""


def _version_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _remove(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version_file(part).unlink(missing_ok=True)


def _read_version(part: Path) -> str | None:
    """Return the server's name for the version that was begun, which makes it send a newer one from its start."""
    try:
        return read_json(_version_file(part), _Version).version
    except InputError:
        return None  # a part of unknown version: the checksum decides


def _write_version(part: Path, headers: Mapping[str, str]) -> None:
    strong = headers.get("ETag") if not headers.get("ETag", "W/").startswith("W/") else None
    version = {"version": strong or headers.get("Last-Modified")}
    write_bytes(_version_file(part), json.dumps(version).encode())


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _kept(part: Path) -> str:
    """Say what there is to go on with."""
    have = _size(part)
    if not have:
        return "a file fetched by other means is taken with --from FILE"
    return f"{in_bytes(have)} are kept in {part}: the same command goes on there"
