import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.annotation.zip_files import ZipFiles
from semivl_cli.errors import InputError


@pytest.fixture
def pack(tmp_path):
    """Packs (name, content) pairs, whatever the names are."""

    def write(*files, method=zipfile.ZIP_DEFLATED):
        path = tmp_path / "x.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in files:
                archive.writestr(zipfile.ZipInfo(name), content, method)
        return path

    return write


def test_names_are_read_whatever_stands_before_them_or_between_their_parts(pack):
    path = pack(("./a.txt", "1"), ("day1\\b.txt", "2"), ("./day2//./c.txt", "3"), ("day3/", ""), (".hidden/d", "4"))
    files = ZipFiles(path)
    assert list(files.names()) == ["a.txt", "day1/b.txt", "day2/c.txt"]
    assert [files.read(name) for name in files.names()] == [b"1", b"2", b"3"]


def test_utf8_names_that_do_not_say_so_are_read_as_macos_writes_them(pack):
    path = pack(("é.txt", "1"))
    data = path.read_bytes().replace("é".encode(), "é".encode())
    for start, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.index(start) + flags
        assert struct.unpack_from("<H", data, at)[0] & 0x800
        data = data[:at] + b"\0\0" + data[at + 2 :]
    path.write_bytes(data)
    assert list(ZipFiles(path).names()) == ["é.txt"]
    assert ZipFiles(path).read("é.txt") == b"1"


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "C:/x", "\\x", "a\\..\\x"])
def test_names_that_lead_out_are_refused(pack, name):
    with pytest.raises(InputError, match="leads out of the archive"):
        ZipFiles(pack((name, "")))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_come_twice_or_are_none_are_refused(pack):
    with pytest.raises(InputError, match="it holds two files called a"):
        ZipFiles(pack(("a.txt", "1"), ("./a.txt", "2")))
    with pytest.raises(InputError, match="a file in it has no name"):
        ZipFiles(pack((".", "1")))


def test_what_unpacks_to_more_than_it_may_is_refused_before_it_does(pack, monkeypatch):
    path = pack(("a.txt", b"\0" * 3_000_000))
    monkeypatch.setenv("SEMIVL_MAX_DOCUMENT_MIB", "2")
    with pytest.raises(InputError, match="more than 2 MiB: refused; if it is meant, set SEMIVL_MAX_DOCUMENT_MIB"):
        ZipFiles(path).read("a.txt")
    monkeypatch.delenv("SEMIVL_MAX_DOCUMENT_MIB")
    monkeypatch.setattr("semivl_cli.data.annotation.zip_files._SMALL", 2**20)
    with pytest.raises(InputError, match="unpacks to more than 100 times its size"):
        ZipFiles(path).read("a.txt")


def test_an_archive_that_claims_a_smaller_size_than_it_has_is_damaged(pack):
    path = pack(("a.txt", b"\0" * 3_000_000))
    path.write_bytes(path.read_bytes().replace(struct.pack("<I", 3_000_000), struct.pack("<I", 10)))
    with pytest.raises(InputError, match="the archive is damaged"):
        ZipFiles(path).read("a.txt")


def test_other_packings_and_encrypted_files_say_what_to_do(pack):
    with pytest.raises(InputError, match="packed in a way that is not read here: unpack it yourself"):
        ZipFiles(pack(("a.txt", "1"), method=zipfile.ZIP_LZMA)).read("a.txt")
    path = pack(("a.txt", "1"))
    data = path.read_bytes()
    at = data.index(b"PK\1\2") + 8
    path.write_bytes(data[:at] + b"\1\0" + data[at + 2 :])
    with pytest.raises(InputError, match="is encrypted: unpack it yourself"):
        ZipFiles(path)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_archive_is_one_line(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("zip") / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels/a.txt", "0 0.1 0.1 0.2 0.2 0.1 0.3\n" * 20)
        archive.writestr("data.yaml", "names: [road]\n")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    try:
        for _, file in Tree.open(path).files():
            file.read()
    except InputError as error:
        assert "\n" not in str(error)
