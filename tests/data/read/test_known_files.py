"""Copies of files are found by content, and only files of the same length are read."""

from semivl_cli.data.contract import TarEntry
from semivl_cli.data.read import known_files as copies
from semivl_cli.data.read.known_files import KnownFiles, content_hash


def write(path, content):
    path.write_bytes(content)
    return path


def test_a_copy_is_found_by_its_content_whatever_it_is_read_from(tmp_path):
    one, other = write(tmp_path / "one.jpg", b"1111"), write(tmp_path / "other.jpg", b"2222")
    shard = write(tmp_path / "shard.tar", b"..2222..")
    known = KnownFiles([one, other])
    assert known.twin(write(tmp_path / "copy.png", b"1111")) == one
    assert known.twin(TarEntry(shard=shard, offset=2, size=4)) == other
    assert known.twin(write(tmp_path / "stranger.jpg", b"3333")) is None
    assert known.twin(tmp_path / "absent.jpg") is None
    assert KnownFiles([TarEntry(shard=shard, offset=2, size=4)]).twin(other) is not None


def test_files_of_another_length_are_not_read(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(copies, "content_hash", lambda file: read.append(file.name) or content_hash(file))
    known = KnownFiles([write(tmp_path / "a", b"1"), write(tmp_path / "b", b"22")])
    assert known.twin(write(tmp_path / "c", b"333")) is None
    assert read == []
    assert known.twin(write(tmp_path / "d", b"11")) is None
    assert sorted(read) == ["b", "d"]
    known.read_all()
    assert sorted(read) == ["a", "b", "d"]
