import hashlib
import json
import zipfile

import pytest
from filelock import FileLock

from semivl_cli.data.obtain import Archive, obtain
from semivl_cli.errors import InputError, RunError


def packed(path, *names):
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, name)
    return path


@pytest.fixture
def dataset(served):
    folder, address = served
    packed(folder / "images.zip", "images/a.jpg", "images/b.jpg")
    packed(folder / "masks.zip", "masks/a.png")
    md5 = hashlib.md5((folder / "images.zip").read_bytes()).hexdigest()
    size = (folder / "images.zip").stat().st_size
    return (
        Archive(name="images.zip", url=f"{address}/images.zip", size=size, md5=md5, holds={"images/*.jpg": 2}),
        Archive(name="masks.zip", url=f"{address}/masks.zip", holds={"masks/*.png": 1}),
    )


def run(archives, root, sources=(), download=True, **options):
    lines = []
    obtain(archives, root, sources, download, lines.append, **{"steps": "do this", **options})
    return lines


def files(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


ALL = ["images/a.jpg", "images/b.jpg", "masks/a.png"]


def test_what_lacks_is_fetched_unpacked_recorded_and_its_archive_removed(dataset, tmp_path):
    root = tmp_path / "root"
    run(dataset, root)
    assert [name for name in files(root) if not name.startswith(".")] == ["downloads.json", *ALL]
    assert not (root / "downloads").exists()
    record = json.loads((root / "downloads.json").read_text())
    assert record["images.zip"]["checked"] == ["size", "md5"]
    assert record["masks.zip"]["checked"] == []
    assert all(len(entry["sha256"]) == 64 and entry["url"].startswith("http") for entry in record.values())


def test_what_is_there_is_not_fetched_again(dataset, served, tmp_path):
    root = tmp_path / "root"
    run(dataset, root)
    for path in served[0].iterdir():
        path.unlink()
    assert run(dataset, root) == [f"{root}: all that can be fetched is there"]
    (root / "masks" / "a.png").unlink()
    with pytest.raises(RunError, match=r"masks\.zip: the server answers 404"):
        run(dataset, root)


@pytest.mark.parametrize("content", [b"[]", b"{", b"\xff", b"9" * 5000, b"[" * 100_000])
def test_a_damaged_record_of_downloads_is_told_before_anything_is_fetched(dataset, tmp_path, content):
    root = tmp_path / "root"
    root.mkdir()
    (root / "downloads.json").write_bytes(content)
    with pytest.raises(InputError, match=r"downloads\.json: .*move it away"):
        run(dataset, root)
    assert [name for name in files(root) if not name.startswith(".")] == ["downloads.json"]


def test_another_folder_of_the_root_may_hold_it(dataset, tmp_path):
    root = tmp_path / "root"
    run(dataset, root / "VOCdevkit")
    assert run(dataset, root, homes=("", "VOCdevkit"))[-1] == f"{root}: all that can be fetched is there"


def test_archives_of_the_user_are_unpacked_and_stay(dataset, served, tmp_path):
    root = tmp_path / "root"
    lines = run(dataset, root, [served[0] / "masks.zip"], download=False)
    assert lines[-1] == f"masks.zip: 1 new files in {root}"
    assert (root / "masks" / "a.png").is_file()
    assert (served[0] / "masks.zip").is_file()
    run(dataset, root, [served[0]], download=False)  # a folder that holds them
    assert [name for name in files(root) if not name.startswith(".")] == ALL


def test_sources_that_are_none_are_told(dataset, tmp_path):
    root = tmp_path / "root"
    with pytest.raises(InputError, match=r"holds none of images\.zip, masks\.zip; .* named by --root"):
        run(dataset, root, [tmp_path], download=False)
    with pytest.raises(InputError, match=r"absent\.zip: no such file"):
        run(dataset, root, [tmp_path / "absent.zip"], download=False)
    with pytest.raises(InputError, match="holds none of images: is it the right archive"):
        run(dataset, root, [packed(tmp_path / "x.zip", "pictures/a.jpg")], download=False, known=["images"])
    assert not root.exists() or files(root) in ([], [".prepare.lock"])


def test_what_wants_a_login_is_told_with_the_steps(tmp_path):
    archives = (Archive(name="secret.zip", holds={"x": 1}),)
    with pytest.raises(InputError, match=r"secret\.zip cannot be fetched by a program: do this"):
        run(archives, tmp_path)
    (tmp_path / "x").touch()
    assert run(archives, tmp_path)[-1].endswith("all that can be fetched is there")


def test_a_wrong_checksum_writes_nothing_into_the_dataset(dataset, served, tmp_path):
    packed(served[0] / "images.zip", "images/x.jpg", "images/y.jpg")
    with pytest.raises(InputError, match="what came is not what was published"):
        run(dataset, tmp_path / "root")
    assert [path.name for path in (tmp_path / "root").iterdir()] == [".prepare.lock"]


def test_only_one_process_prepares_a_root(dataset, tmp_path):
    with FileLock(tmp_path / ".prepare.lock"), pytest.raises(InputError, match="another process is preparing"):
        run(dataset, tmp_path)


def test_without_sources_and_download_nothing_is_touched(dataset, tmp_path):
    run(dataset, tmp_path / "root", download=False)
    assert not (tmp_path / "root").exists()


def test_a_root_that_cannot_be_made_is_told(dataset, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        run(dataset, tmp_path / "file" / "root")
