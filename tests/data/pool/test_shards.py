"""The images inside tar shards are found by their headers, once."""

import io
import tarfile

import pytest
from PIL import Image

from semivl_cli.data.pool import shards as shards_module
from semivl_cli.data.pool.shards import open_shards
from semivl_cli.errors import InputError
from semivl_cli.files import cache_folder


def jpeg(number, side=32):
    """An image of one colour, which tells its number."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), (number, 255 - number, 100)).save(file, "jpeg", quality=95)
    return file.getvalue()


def write_shard(path, members, format=tarfile.USTAR_FORMAT):
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in members:
            about = tarfile.TarInfo(name)
            about.size = len(data)
            tar.addfile(about, io.BytesIO(data))
    return path


def test_of_a_sample_the_image_alone_is_taken(tmp_path):
    members = [
        ("a/0001.json", b"{}"),
        ("a/0001.png", b"a mask, as it were"),
        ("a/0001.jpg", jpeg(1)),
        ("a/0001.seg.png", b"mask"),
        ("a/0002.cls", b"3"),
        ("a/._0003.jpg", b"what a Mac leaves"),
        ("b/0001.WEBP", b"other folder"),
        ("./very/" + 30 * "long/" + "0004.jpeg", jpeg(4)),
        ("0005.jpg", b""),
    ]
    for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = write_shard(tmp_path / f"{format}.tar", members, format)
        (shard,) = open_shards([path], print)
        data = path.read_bytes()
        found = [data[m.offset : m.offset + m.size] for m in map(shard.entry, range(shard.images))]
        assert found == [jpeg(1), b"other folder", jpeg(4), b""]


def test_an_empty_shard_holds_nothing(tmp_path):
    (shard,) = open_shards([write_shard(tmp_path / "empty.tar", [])], print)
    assert shard.images == 0


def test_headers_are_read_once_and_again_where_a_shard_changed(tmp_path, monkeypatch):
    path = write_shard(tmp_path / "one.tar", [("1.jpg", jpeg(1))])
    assert open_shards([path], print)[0].images == 1
    scanned = []
    scan = shards_module._scan
    monkeypatch.setattr(shards_module, "_scan", lambda path: scanned.append(path) or scan(path))
    assert open_shards([path], print)[0].images == 1
    assert scanned == []
    write_shard(path, [("1.jpg", jpeg(1)), ("2.jpg", jpeg(2))])
    assert open_shards([path], print)[0].images == 2
    for kept in cache_folder("shards").iterdir():
        kept.write_bytes(kept.read_bytes()[:100])
    assert open_shards([path], print)[0].images == 2
    assert len(scanned) == 2


def test_many_shards_are_read_by_several_processes(tmp_path):
    paths = [write_shard(tmp_path / f"{n}.tar", [(f"{n}.jpg", jpeg(n))]) for n in range(10)]
    said = []
    assert [shard.images for shard in open_shards(paths, said.append)] == [1] * 10
    assert said[0].startswith("reading the headers of 10 tar shards, once")
    paths[7].write_bytes(b"x" * 2000)
    with pytest.raises(InputError, match=r"7\.tar at byte 0: the shard is damaged"):
        open_shards(paths, said.append)


@pytest.mark.parametrize("cut", [300, 700, 513, 512 + 900])
def test_a_shard_that_is_cut_off_is_named_with_the_byte(tmp_path, cut):
    path = write_shard(tmp_path / "cut.tar", [(f"{n}.jpg", jpeg(n)) for n in range(5)])
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"cut\.tar at byte \d+: the shard is damaged or cut off"):
        open_shards([path], print)


def test_a_shard_that_is_damaged_in_the_middle_is_no_shorter_shard(tmp_path):
    path = write_shard(tmp_path / "bad.tar", [(f"{n}.jpg", jpeg(n)) for n in range(5)])
    with tarfile.open(path) as tar:
        third = tar.getmembers()[2].offset
    data = bytearray(path.read_bytes())
    data[third : third + 512] = b"\x55" * 512
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"bad\.tar at byte {third}: the shard is damaged"):
        open_shards([path], print)
