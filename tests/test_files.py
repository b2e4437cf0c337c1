"""The door to the disk: whole writes, locks, cache folders, and which images a folder holds."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from semivl_cli import files
from semivl_cli.errors import InputError, RunError
from semivl_cli.files import (
    ABSENT,
    cache_folder,
    fitting,
    folds_case,
    hash_file,
    image_suffixes,
    is_image,
    locked,
    read_folder,
    replacing,
    walk,
    write_bytes,
    write_text,
)


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def images(root):
    return [found.folder / name for found in walk(root) for name in found.files if is_image(name)]


def listed(root):
    return [path.relative_to(root).as_posix() for path in images(root)]


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "mask.png"
    path.write_bytes(b"old")

    def full_disk(self, data):
        with self.open("wb") as file:
            file.write(data[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_bytes(path, b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("mask.png", b"old")]


def test_what_is_written_under_another_name_appears_at_the_end(tmp_path):
    path = tmp_path / "a"
    with replacing(path) as temporary:
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"new")]


KILLED = """
import os, sys
from pathlib import Path
from semivl_cli.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    if sys.argv[2:]:
        print("writing", flush=True)
        sys.stdin.read()
    os._exit(9)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there what is open cannot be renamed, so nothing is locked")
def test_what_a_killed_process_left_goes_with_the_next_write_and_what_is_being_written_stays(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "a")]
    subprocess.run(command, check=False)
    [left] = tmp_path.iterdir()
    with subprocess.Popen([*command, "slowly"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "writing\n"
        assert not left.exists()
        [alive] = tmp_path.iterdir()
        write_bytes(tmp_path / "b", b"new")
        assert alive.exists()
        other.kill()
    files._sweep_abandoned.cache_clear()  # as a process that is new
    (tmp_path / "theirs.part").touch()
    write_bytes(tmp_path / "b", b"new")
    assert {path.name for path in tmp_path.iterdir()} == {"b", "theirs.part"}


def test_a_file_of_a_run_that_cannot_be_written_is_one_line(tmp_path):
    with pytest.raises(RunError, match=r"cannot write .*the run stands at its last checkpoint"):
        write_text(tmp_path / "absent" / "run.toml", "")


def test_a_hash_is_that_of_the_whole_file(tmp_path):
    content = os.urandom(3 * 2**20 + 1)
    (tmp_path / "a").write_bytes(content)
    assert hash_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_a_lock_is_held_once_and_let_go(tmp_path):
    def lock():
        return locked(tmp_path / "new" / ".lock", busy="somebody is at it", refused=str)

    with lock(), pytest.raises(InputError, match="somebody is at it"), lock():
        pass
    with lock():
        pass
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"refused: .*file"),
        locked(tmp_path / "file" / ".lock", busy="", refused=lambda error: f"refused: {error}"),
    ):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep caches elsewhere")
def test_the_cache_lies_where_the_user_says(monkeypatch):
    assert cache_folder("text") == Path.home() / ".cache" / "semivl" / "text"
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder("text") == Path("/elsewhere/semivl/text")
    monkeypatch.setenv("SEMIVL_CACHE", "/mine")
    assert cache_folder("text") == Path("/mine/text")


def test_images_are_what_pillow_reads_and_people_take_for_pictures():
    usual = {".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
    assert usual <= image_suffixes() <= Image.registered_extensions().keys()
    assert not {".eps", ".gz", ".h5", ".ico", ".json", ".mpeg", ".pdf", ".tar", ".txt"} & image_suffixes()
    assert is_image("A.JPG") and not is_image("jpg") and not is_image("a.jpg.txt")


def test_files_come_before_folders_each_in_order(tmp_path):
    make(tmp_path, "b.png", "a.jpg", "c/2.png", "c/1.png", "c/d/0.png", "B/x.png", "notes.txt")
    assert listed(tmp_path) == ["a.jpg", "b.png", "B/x.png", "c/1.png", "c/2.png", "c/d/0.png"]


def test_hidden_files_and_those_of_macos_are_no_images(tmp_path):
    make(tmp_path, "a.png", "._a.png", ".a.png", ".cache/a.png", "b/._c.png")
    assert listed(tmp_path) == ["a.png"]
    assert not is_image("._a.png")


@pytest.mark.parametrize(
    "name",
    [
        *("__MACOSX/a.png", ".ipynb_checkpoints/a-checkpoint.png", "@eaDir/a.jpg/THUMB_XL.jpg"),
        *("$RECYCLE.BIN/a.png", "lost+found/a.png", "System Volume Information/a.png"),
    ],
)
def test_what_systems_leave_in_folders_is_none_of_the_users(tmp_path, name):
    make(tmp_path, "a.png", name, "Thumbs.db", "desktop.ini")
    assert listed(tmp_path) == ["a.png"]
    assert read_folder(tmp_path)[2:] == (["a.png"], [])


def shut_away(folder, monkeypatch):
    """Let nobody look into a folder, not even root."""
    scan = os.scandir

    def refuse(path):
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)


def test_a_folder_that_cannot_be_read_ends_the_walk_unless_somebody_hears_of_it(tmp_path, monkeypatch):
    make(tmp_path, "a/1.png", "b/2.png", "c/3.png")
    shut_away(tmp_path / "b", monkeypatch)
    with pytest.raises(InputError, match=r"b: the folder cannot be read \(Permission denied\)"):
        list(walk(tmp_path))
    heard = []
    found = [name for content in walk(tmp_path, unreadable=lambda *told: heard.append(told)) for name in content.files]
    assert found == ["1.png", "3.png"]
    assert [(path, str(error)) for path, error in heard] == [
        (tmp_path / "b", f"{tmp_path / 'b'}: the folder cannot be read (Permission denied)")
    ]


def test_a_link_in_a_circle_costs_no_other_file_of_its_folder(tmp_path):
    make(tmp_path, "a.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "loop").symlink_to("loop")
    assert read_folder(tmp_path)[2:] == (["a.png", "loop", "loop.png"], [])


def test_a_folder_is_followed_through_one_link_alone(tmp_path):
    make(tmp_path, "elsewhere/b.png", "top/in/c.png")
    for name in ("one", "two", "in/three"):
        (tmp_path / "top" / name).symlink_to(tmp_path / "elsewhere")
    notes = []
    found = [content.folder.name for content in walk(tmp_path / "top", notes.append)]
    assert found == ["top", "in", "one"]
    assert len(notes) == 2 and all("to the same folder as" in note for note in notes)


def test_links_that_branch_at_every_level_end(tmp_path):
    for level in range(30):
        make(tmp_path, f"{level}/a.png")
        for name in ("left", "right"):
            (tmp_path / str(level) / name).symlink_to(tmp_path / str(level + 1))
    assert len(images(tmp_path / "0")) == 30


def test_patterns_name_what_a_shell_would(tmp_path, monkeypatch):
    make(tmp_path, "day/a.jpg", "day/b.png", "day/in/c.jpg", "night/a.jpg")
    monkeypatch.chdir(tmp_path)
    assert sorted(fitting("day/*.jpg")) == [str(Path("day/a.jpg"))]
    assert sorted({Path(name).as_posix() for name in fitting("**/*.jpg")}) == [
        "day/a.jpg",
        "day/in/c.jpg",
        "night/a.jpg",
    ]
    assert sorted(Path(name).as_posix() for name in fitting("*/a.*")) == ["day/a.jpg", "night/a.jpg"]


def test_whether_a_disk_folds_case_is_tried_and_leaves_nothing_behind(tmp_path):
    (tmp_path / "a").touch()
    assert folds_case(tmp_path) == (tmp_path / "A").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert not folds_case(tmp_path / "absent")


def test_a_link_to_a_folder_around_it_is_not_followed(tmp_path):
    make(tmp_path, "top/a.png", "top/in/b.png")
    (tmp_path / "top" / "in" / "self").symlink_to(tmp_path / "top" / "in")
    (tmp_path / "top" / "in" / "parent").symlink_to(tmp_path / "top")
    (tmp_path / "top" / "in" / "above").symlink_to(tmp_path)
    notes = []
    assert sum(len(found.files) for found in walk(tmp_path / "top", notes.append)) == 2
    assert [note.split("/")[-1] for note in notes] == [
        f"{name} links to a folder above it: not followed" for name in ("above", "parent", "self")
    ]


def test_links_that_lead_round_in_a_circle_end(tmp_path):
    make(tmp_path, "top/a.png", "elsewhere/b.png")
    (tmp_path / "top" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "top")
    assert listed(tmp_path / "top") == ["a.png", "out/b.png"]


def test_linked_files_and_folders_count(tmp_path):
    make(tmp_path, "elsewhere/b.png", "top/a.png", "top/in/c.png")
    (tmp_path / "top" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "top" / "beside").symlink_to(tmp_path / "top" / "in")
    (tmp_path / "top" / "z.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    assert listed(tmp_path / "top") == ["a.png", "z.png", "beside/c.png", "in/c.png", "linked/b.png"]


def test_an_absent_folder_holds_nothing_and_a_file_is_none(tmp_path):
    make(tmp_path, "a.png")
    assert read_folder(tmp_path / "absent")[1:] == (ABSENT, [], [])
    with pytest.raises(InputError, match=r"a\.png: the folder cannot be read"):
        read_folder(tmp_path / "a.png")
