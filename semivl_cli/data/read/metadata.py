"""A PNG or JPEG without its texts, profiles and notes of cameras: decoders refuse broken and very large ones."""

from __future__ import annotations

from semivl_cli.data.read.orientation import minimal_block, read_orientation

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND")
_SCAN = 0xDA
_NOTES = frozenset((*range(0xE1, 0xEE), 0xEF, 0xFE))
"""Segments of a JPEG that programs fill as they like; 0xE0 and 0xEE tell how its colours are meant."""


def without_metadata(data: bytes) -> bytes | None:
    """Return what its pixels and its orientation need; nothing where it is neither PNG nor JPEG."""
    if data.startswith(_PNG):
        return _plain_png(data)
    return _plain_jpeg(data) if data.startswith(_JPEG) else None


def _plain_png(data: bytes) -> bytes:
    parts, at = [_PNG], len(_PNG)
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind in _PIXEL_CHUNKS:
            parts.append(data[at : at + 12 + length])
        at += 12 + length
    return b"".join(parts)


def _plain_jpeg(data: bytes) -> bytes:
    parts, at, orientation = [_JPEG], len(_JPEG), 1
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] not in _NOTES:
            parts.append(data[at:end])
        elif orientation == 1 and data[at + 4 : at + 10] == b"Exif\0\0":
            orientation = read_orientation(data[at + 4 : end])
        at = end
    block = minimal_block(orientation)
    parts.insert(1, b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block)
    return b"".join([*parts, data[at:]])
