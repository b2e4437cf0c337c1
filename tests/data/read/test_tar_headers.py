import gzip
import io
import tarfile
import time

import pytest

from semivl_cli.data.read.tar_headers import DamagedTarError, tar_headers


def header(name=b"a.jpg", size=b"00000000005\0", kind=b"0"):
    """Return a header of 512 bytes, as every tar has them, with whatever size."""
    block = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + size.ljust(12, b"\0") + b"00000000000\0"
    block += b" " * 8 + kind + bytes(100) + b"ustar\00000" + bytes(247)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def body(data):
    return data + bytes(-len(data) % 512)


def pax(records):
    return header(b"pax", b"%011o\0" % len(records), b"x") + body(records)


FILE = header() + body(b"12345")
END = bytes(1024)
SPARSE = pax(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n")


def names(data, opener=io.BytesIO):
    return [(entry.name, entry.size) for entry in tar_headers(opener(data))]


def test_every_entry_comes_once_and_none_is_kept():
    long = tarfile.TarInfo("d/" * 90 + "long.png")
    buffer = io.BytesIO()
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
            tar.addfile(long)
            tar.addfile(tarfile.TarInfo("b"))
        assert names(buffer.getvalue()) == [(long.name, 0), ("b", 0)]
    assert names(FILE * 3 + END) == names(FILE * 3) == [("a.jpg", 5)] * 3


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (FILE + header(size=b"\xff" * 12) + FILE, "size below 0"),  # -1 in base 256
        (FILE + pax(b"11 size=-99\n") + FILE, "size below 0|no header there"),
        (FILE + header(kind=b"x", size=b"\xff" * 10 + b"\xfc\0") + FILE, "a header of more than"),
        (header(kind=b"x", size=b"77777777777\0") + bytes(512), "a header of more than"),
        (FILE + header(kind=b"L", size=b"77777777777\0"), "a header of more than"),
        (FILE + pax(b"9" * 60_000) + FILE, "an endless number"),
        (pax(b"") * 200 + FILE, "a header of more than"),
        (FILE + b"\x55" * 512 + FILE, "no header there at byte 1024"),
        (FILE + FILE[:300], "no header there at byte 1024"),
        (FILE[:700], "unexpected end of data"),
        (b"text" * 200, "invalid header"),
        (SPARSE + header(size=b"77777777777\0") + b"99999\n" + b"1\n" * 90_000, "a header of more than"),
        (FILE + header(kind=b"S")[:482] + b"\1" + bytes(29), "at byte 1024"),
    ],
)
def test_what_no_program_writes_is_refused_at_once(data, reason):
    began = time.monotonic()
    with pytest.raises(DamagedTarError, match=reason) as found:
        names(data)
    assert time.monotonic() - began < 2
    assert f"at byte {found.value.at}" in str(found.value)


def test_a_header_that_unpacks_to_gigabytes_is_not_unpacked():
    packed = gzip.compress(header(kind=b"x", size=b"\x80" + (2**33).to_bytes(11, "big")) + bytes(2**20))
    with pytest.raises(DamagedTarError, match="a header of more than 65536 bytes"):
        names(packed, lambda data: gzip.GzipFile(fileobj=io.BytesIO(data)))
