"""Brings a published dataset into its root: from archives that the user has, or fetched from the publisher."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from semivl_cli.data.contract import Say
from semivl_cli.data.fetch.archives import unpack
from semivl_cli.data.fetch.download import fetch
from semivl_cli.documents import read_json
from semivl_cli.errors import InputError
from semivl_cli.files import locked, write_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """An archive of a published dataset."""

    name: str
    """File name."""
    url: str | None = None
    """Where everyone may fetch it; `None` where the publisher wants a login first."""
    size: int | None = None
    """Number of bytes, where it is known."""
    md5: str | None = None
    """Checksum, where one is widely published."""
    holds: Mapping[str, int] = field(default_factory=dict)
    """Pattern of paths below the dataset's folder -> how many of them there are once the archive is unpacked."""

    def is_unpacked(self, homes: Iterable[Path]) -> bool:
        """Whether one of these folders holds all that comes with the archive."""
        return any(
            all(sum(1 for _ in home.glob(pattern)) >= count for pattern, count in self.holds.items()) for home in homes
        )


def find_home(root: Path, homes: Iterable[str], *inside: str) -> Path | None:
    """Return the first of `homes` below `root` that holds the folders `inside`, if one does."""
    return next((root / home for home in homes if all((root / home / name).is_dir() for name in inside)), None)


def obtain(
    archives: Sequence[Archive],
    root: Path,
    sources: Sequence[Path],
    download: bool,
    report: Say,
    *,
    homes: Sequence[str] = ("",),
    known: Sequence[str] = (),
    steps: str,
) -> None:
    """Unpack the sources into `root`, then fetch and unpack what is still lacking, if that is wanted.

    An archive that was fetched is removed once it is unpacked; `downloads.json` in the root tells what was fetched from
    where, with sizes and hashes.

    Args:
        archives: of the dataset, in the order in which they are fetched.
        root: of the dataset.
        sources: archives, or folders that hold some of `archives`.
        download: whether to fetch.
        report: takes a line.
        homes: folders below `root` that may hold the dataset.
        known: names of which each source must hold one.
        steps: how a user gets what cannot be fetched, one sentence.

    Raises:
        InputError: a source is no archive of this dataset; what was fetched is damaged; something cannot be fetched
            by a program; another process is at it.
        RunError: the server does not answer, or the disk is full; what was fetched so far is kept.
    """
    if not sources and not download:
        return
    given = [file for source in sources for file in _archives_in(source, archives)]
    with locked(
        root / ".prepare.lock",
        busy=f"{root}: another process is preparing this dataset",
        refused=lambda error: f"{root}: cannot be written ({error})",
    ):
        for file in given:
            report(f"{file.name}: {unpack(file, root, report, known=known)} new files in {root}")
        if not download:
            return
        lacking = [archive for archive in archives if not archive.is_unpacked(root / home for home in homes)]
        closed = [archive.name for archive in lacking if archive.url is None]
        if closed:
            raise InputError(f"{', '.join(closed)} cannot be fetched by a program: {steps}")
        for archive in lacking:
            _fetch_and_unpack(archive, root, report, known)
        if not lacking:
            report(f"{root}: all that can be fetched is there")


def _fetch_and_unpack(archive: Archive, root: Path, report: Say, known: Sequence[str]) -> None:
    assert archive.url is not None, "only what everyone may fetch comes here"
    file, record = root / "downloads" / archive.name, root / "downloads.json"
    noted = _noted(record)
    try:
        sha256 = fetch(archive.url, file, report, size=archive.size, md5=archive.md5)
        report(f"{archive.name}: {unpack(file, root, report, known=known)} new files in {root}")
        _note_download(record, noted, archive, file.stat().st_size, sha256)
        file.unlink()
    finally:
        with suppress(OSError):  # something lies there still
            file.parent.rmdir()


def _noted(record: Path) -> dict[str, object]:
    """Return what earlier downloads left in `downloads.json`, before anything is fetched."""
    try:
        return read_json(record, dict[str, object]) if record.exists() else {}
    except InputError as error:
        raise InputError(f"{error}: the file is damaged; move it away") from error


def _note_download(record: Path, noted: dict[str, object], archive: Archive, size: int, sha256: str) -> None:
    entry = {
        "url": archive.url,
        "bytes": size,
        "sha256": sha256,
        "checked": [name for name, value in (("size", archive.size), ("md5", archive.md5)) if value is not None],
        "fetched": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    write_bytes(record, (json.dumps({**noted, archive.name: entry}, indent=1) + "\n").encode())


def _archives_in(source: Path, archives: Sequence[Archive]) -> list[Path]:
    """Return the archives that a source means: itself, or those in a folder that have the publisher's names."""
    if source.is_dir():
        named = [source / archive.name for archive in archives if (source / archive.name).is_file()]
        if not named:
            names = ", ".join(archive.name for archive in archives)
            raise InputError(f"{source}: holds none of {names}; a dataset that is unpacked is named by --root")
        return named
    if not source.exists():
        raise InputError(f"{source}: no such file")
    return [source]
