import io
import stat
import tarfile
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semivl_cli.data.fetch import archive_entries, archives
from semivl_cli.data.fetch.archives import unpack
from semivl_cli.errors import InputError, RunError


def make_tar(path, members, mode="w"):
    """Members: name -> bytes, or a `TarInfo` field dictionary."""
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                for key, value in content.items():
                    setattr(info, key, value)
                tar.addfile(info)
    return path


def make_zip(path, members):
    """Members: name -> bytes, or (unix mode, bytes)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            mode, data = content if isinstance(content, tuple) else (stat.S_IFREG | 0o644, content)
            info.create_system, info.external_attr = 3, mode << 16
            packed.writestr(info, data, zipfile.ZIP_DEFLATED)
    return path


def tree(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def run(archive, folder, **options):
    return unpack(archive, folder, lambda line: None, **options)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_files_come_out_as_they_are(tmp_path, suffix):
    members = {"./VOC/a.jpg": b"a" * 5000, "VOC/deep/b.png": b"b", "VOC/empty": b""}
    path = tmp_path / f"x.{suffix}"
    if suffix == "zip":
        make_zip(path, {"VOC/": (stat.S_IFDIR | 0o755, b""), **members})
    else:
        make_tar(path, {"VOC": {"type": tarfile.DIRTYPE}, **members}, "w:" + suffix.partition(".")[2])
    assert run(path, tmp_path / "out") == 3
    assert tree(tmp_path / "out") == {"VOC/a.jpg": b"a" * 5000, "VOC/deep/b.png": b"b", "VOC/empty": b""}


def test_what_is_there_stays_and_what_lacks_comes(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"masks/a.png": b"theirs", "masks/b.png": b"b"})
    (tmp_path / "out" / "masks").mkdir(parents=True)
    (tmp_path / "out" / "masks" / "a.png").write_bytes(b"mine")
    assert run(path, tmp_path / "out") == 1
    assert tree(tmp_path / "out") == {"masks/a.png": b"mine", "masks/b.png": b"b"}


def test_what_macos_adds_is_left_out(tmp_path):
    path = make_zip(
        tmp_path / "x.zip", {"m/a.png": b"a", "__MACOSX/m/._a.png": b"x", "m/.DS_Store": b"x", "m/._a": b""}
    )
    assert run(path, tmp_path / "out") == 1


OUT = ["../evil", "a/../../evil", "/tmp/evil", "..\\evil", "C:\\evil", "C:evil", "\\evil", "a/..", "\\\\host\\evil"]


@pytest.mark.parametrize("name", OUT)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_a_path_that_leaves_the_folder_is_refused_before_anything_is_written(tmp_path, kind, name):
    members = {"good": b"x" * 100, name: b"evil"}
    path = make_tar(tmp_path / "x.tar", members) if kind == "tar" else make_zip(tmp_path / "x.zip", members)
    with pytest.raises(InputError, match="would be written outside the folder") as caught:
        run(path, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


LINKS = ["../out", "/etc/passwd", "a/../../out", "..", "../x/../../y", "C:/x"]


@pytest.mark.parametrize("target", LINKS)
@pytest.mark.parametrize("kind", ["symbolic", "hard", "zip"])
def test_a_link_that_points_out_is_refused_before_anything_is_written(tmp_path, kind, target):
    if kind == "zip":
        path = make_zip(tmp_path / "x.zip", {"good": b"x", "link": (stat.S_IFLNK | 0o777, target.encode())})
    else:
        link = {"type": tarfile.SYMTYPE if kind == "symbolic" else tarfile.LNKTYPE, "linkname": target}
        path = make_tar(tmp_path / "x.tar", {"good": b"x", "link": link})
    with pytest.raises(InputError, match="is a link that points out"):
        run(path, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]


def test_links_inside_become_copies(tmp_path):
    def link(target, kind=tarfile.SYMTYPE):
        return {"type": kind, "linkname": target}

    path = make_tar(
        tmp_path / "x.tar",
        {
            "before": link("a/real"),
            "a/real": b"content",
            "a/beside": link("real"),
            "b/up": link("../a/real"),
            "hard": link("a/real", tarfile.LNKTYPE),
            "chain": link("b/up"),
        },
    )
    assert run(path, tmp_path / "out") == 6
    out = tree(tmp_path / "out")
    assert set(out.values()) == {b"content"}
    assert not any((tmp_path / "out" / name).is_symlink() for name in out)
    packed = make_zip(tmp_path / "x.zip", {"a/real": b"c", "a/beside": (stat.S_IFLNK | 0o777, b"real")})
    assert run(packed, tmp_path / "zipped") == 2
    assert tree(tmp_path / "zipped")["a/beside"] == b"c"


@pytest.mark.parametrize("target", ["absent", "self", "folder"])
def test_a_link_to_no_file_is_refused(tmp_path, target):
    link = {"type": tarfile.SYMTYPE, "linkname": target}
    path = make_tar(tmp_path / "x.tar", {"folder/a": b"x", "self": link})
    with pytest.raises(InputError, match="which is no file in the archive"):
        run(path, tmp_path / "out")


def test_nothing_is_written_through_a_link(tmp_path):
    (tmp_path / "outside").mkdir()
    link = {"type": tarfile.SYMTYPE, "linkname": "good"}
    path = make_tar(tmp_path / "x.tar", {"good": b"x", "dir": link, "dir/evil": b"evil"})
    with pytest.raises(InputError, match="lies inside something that is a file"):
        run(path, tmp_path / "out")


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_refused(tmp_path, kind):
    path = make_tar(tmp_path / "x.tar", {"good": b"x", "evil": {"type": kind}})
    with pytest.raises(InputError, match="is a device, a pipe or the like"):
        run(path, tmp_path / "out")
    packed = make_zip(tmp_path / "x.zip", {"good": b"x", "evil": (stat.S_IFCHR | 0o644, b"")})
    with pytest.raises(InputError, match="is a device, a pipe or the like"):
        run(packed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SMALL", 2**20)
    zeros = bytes(2**20)
    packed = make_zip(tmp_path / "x.zip", {f"{number}": zeros for number in range(8)})
    assert packed.stat().st_size * archives.MAX_GROWTH < 8 * 2**20
    tarred = make_tar(tmp_path / "x.tar.gz", {f"{number}": zeros for number in range(8)}, "w:gz")
    links = {f"{number}": {"type": tarfile.LNKTYPE, "linkname": "real"} for number in range(20)}
    linked = make_tar(tmp_path / "l.tar.gz", {"real": bytes(2**19), **links}, "w:gz")
    for path in (packed, tarred, linked):
        with pytest.raises(InputError, match=r"unpack to more than .*: refused"):
            run(path, tmp_path / "out")
    monkeypatch.setattr(archive_entries, "MAX_ENTRIES", 5)
    with pytest.raises(InputError, match="more than 5 files"):
        run(make_zip(tmp_path / "many.zip", {f"{number}": b"" for number in range(6)}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_who_means_a_large_archive_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SMALL", 2**20)
    path = make_zip(tmp_path / "x.zip", {"a": bytes(2**21)})
    with pytest.raises(InputError, match="set SEMIVL_MAX_UNPACKED_GIB"):
        run(path, tmp_path / "out")
    monkeypatch.setenv("SEMIVL_MAX_UNPACKED_GIB", "1")
    assert run(path, tmp_path / "out") == 1


def test_folders_count_too(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_entries, "MAX_ENTRIES", 5)
    folders = {f"{number}": {"type": tarfile.DIRTYPE} for number in range(6)}
    with pytest.raises(InputError, match="more than 5 files"):
        run(make_tar(tmp_path / "x.tar", folders), tmp_path / "out")


def test_a_directory_of_a_zip_that_would_take_the_memory_is_refused(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "x.zip", {f"{number:090}": b"" for number in range(9)})
    monkeypatch.setattr(archive_entries, "MAX_ENTRIES", 5)
    with pytest.raises(InputError, match="its directory has 1224 bytes"):
        run(path, tmp_path / "out")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_that_begin_with_a_dot_and_a_slash_or_have_nothing_else(tmp_path, kind):
    make = make_tar if kind == "tar" else make_zip
    path = make(tmp_path / f"x.{kind}", {"./m/a.png": b"a", ".//m/./b.png": b"b"})
    assert run(path, tmp_path / "out") == 2
    assert tree(tmp_path / "out") == {"m/a.png": b"a", "m/b.png": b"b"}
    for name in ("", ".", "./."):
        with pytest.raises(InputError, match=r"a file has no name|'' .*|outside"):
            run(make(tmp_path / f"y.{kind}", {name: b"x"}), tmp_path / "none")
    with pytest.raises(InputError, match="a name of 5001 characters"):
        run(make(tmp_path / f"z.{kind}", {"a/" * 2500 + "b": b"x"}), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_tar_whose_last_file_is_a_zip_is_a_tar(tmp_path):
    inner = make_zip(tmp_path / "inner.zip", {"a": b"a"}).read_bytes()
    assert run(make_tar(tmp_path / "x.tar", {"deep/inner.zip": inner}), tmp_path / "out") == 1
    assert tree(tmp_path / "out") == {"deep/inner.zip": inner}


def test_chains_of_links_take_no_time(tmp_path):
    links = {f"{number}": {"type": tarfile.SYMTYPE, "linkname": f"{number + 1}"} for number in range(3000)}
    path = make_tar(tmp_path / "x.tar.gz", {"3000": b"end", **links}, "w:gz")
    assert run(path, tmp_path / "out") == 3001
    assert (tmp_path / "out" / "0").read_bytes() == b"end"


def test_a_file_with_holes_is_refused(tmp_path):
    info = tarfile.TarInfo("a")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"}
    content = b"1\n0\n9\n".ljust(512, b"\0") + b"content..".ljust(512, b"\0")
    info.size = len(content)
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(content))
    with pytest.raises(InputError, match=r"with holes \(sparse\)"):
        run(tmp_path / "x.tar", tmp_path / "out")


@given(st.data(), st.sampled_from(["tar", "tar.gz", "zip"]))
def test_damage_anywhere_is_one_line(tmp_path_factory, data, kind):
    home = tmp_path_factory.mktemp("home")
    members = {"a/long" + "g" * 120: b"a", "b": bytes(range(256)), "c": {"type": tarfile.SYMTYPE, "linkname": "b"}}
    path = home / f"x.{kind}"
    if kind == "zip":
        make_zip(path, {**members, "c": (stat.S_IFLNK | 0o777, b"b")})
    else:
        make_tar(path, members, "w:" + kind.partition(".")[2])
    damaged = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    try:
        run(path, home / "out")
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "zip"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_an_archive_cut_off_leaves_nothing(tmp_path, suffix, share):
    noise = bytes((i * 7919 + i // 251) % 256 for i in range(40_000))
    members = {f"d/{number}": noise[number:] for number in range(4)}
    path = tmp_path / f"x.{suffix}"
    make_zip(path, members) if suffix == "zip" else make_tar(path, members, "w:" + suffix.partition(".")[2])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=r"damaged|cannot be unpacked"):
        run(path, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*"))


def test_a_flipped_bit_leaves_nothing(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"a": b"first", "b": bytes(range(256)) * 40})
    data = bytearray(path.read_bytes())
    data[data.index(b"b", 60) + 40] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        run(path, tmp_path / "out")
    assert not tree(tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"not an archive" * 100, b"PK\x03\x04 then nothing"])
def test_what_is_no_archive_is_told(tmp_path, content):
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.zip: .*(expected a tar or zip archive|damaged|holds no file)"):
        run(path, tmp_path / "out")


def test_an_encrypted_zip_is_told(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"a": b"a"})
    data = bytearray(path.read_bytes())
    for start in (data.index(b"PK\x03\x04") + 6, data.index(b"PK\x01\x02") + 8):
        data[start] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="'a' is encrypted"):
        run(path, tmp_path / "out")


def test_another_archive_than_the_one_meant_is_refused(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"holiday/JPEGImagesOld/1.jpg": b"x"})
    with pytest.raises(InputError, match="holds none of JPEGImages: is it the right archive"):
        run(path, tmp_path / "out", known=["JPEGImages"])
    assert not (tmp_path / "out").exists()


def test_a_disk_too_small_is_told_before_and_while_writing(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "x.zip", {"a": b"a" * 100, "b": b"b" * 100})
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 10}))
    with pytest.raises(RunError, match=r"needs 200 bytes in .*, where 10 bytes are free"):
        run(path, tmp_path / "out")
    monkeypatch.undo()

    def full(source, target, length):
        target.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives.shutil, "copyfileobj", full)
    with pytest.raises(RunError, match="the disk is full; nothing was left behind"):
        run(path, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*"))


def test_what_a_killed_process_left_is_cleared(tmp_path):
    path = make_zip(tmp_path / "x.zip", {"a": b"a"})
    left = tmp_path / "out" / ".x.zip.unpacking" / "half"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"h")
    run(path, tmp_path / "out")
    assert tree(tmp_path / "out") == {"a": b"a"}


NAMES = st.lists(st.text("ab./\\:C", min_size=1, max_size=8), min_size=1, max_size=5, unique=True)


@given(NAMES)
def test_whatever_the_names_nothing_appears_outside(tmp_path_factory, names):
    home = tmp_path_factory.mktemp("home")
    path = make_tar(home / "x.tar", dict.fromkeys(names, b"content"))
    try:
        new = run(path, home / "in" / "out")
    except InputError:
        assert not (home / "in" / "out").exists() or not list((home / "in" / "out").iterdir())
    else:
        assert new == len(tree(home / "in" / "out"))
    assert set(home.iterdir()) <= {path, home / "in"}
    assert not (home / "in").exists() or set((home / "in").iterdir()) == {home / "in" / "out"}
