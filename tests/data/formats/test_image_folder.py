import zipfile

import pytest
from semivl_plugins.folder import Folder

from semivl_cli.errors import InputError


def test_a_list_and_a_folder_of_more_images_are_unlabelled(shop, tmp_path, boxes):
    for name in ("a", "c"):
        shop.mask(f"{name}.png", boxes)
    more, listed = tmp_path / "more", tmp_path / "list.txt"
    for name in ("x", "deep/y"):
        (more / name).parent.mkdir(parents=True, exist_ok=True)
        (more / f"{name}.jpg").write_bytes(shop.image("c").read_bytes())
    listed.write_text(f"more/../more/x.jpg\n{shop.image('z', folder='elsewhere')}\n")
    shop.prepare(more)
    assert {r.id for r in Folder().records(shop.root, "train") if not r.label} == {"day1/b", "more/x", "more/deep/y"}
    shop.prepare(listed)
    assert {r.id for r in Folder().records(shop.root, "train") if not r.label} == {"day1/b", "more/x", "elsewhere/z"}


@pytest.fixture
def archive(shop, tmp_path):
    """An archive of two photographs in the folders of an export, and a text that nobody reads."""
    with zipfile.ZipFile(tmp_path / "export.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.write(shop.image("x", folder="../x"), "./train/images/x.jpg")
        packed.write(shop.image("y", folder="../x"), "valid/images/y.jpg")
        packed.writestr("README.txt", "no labels")
    return tmp_path / "export.zip"


def unlabeled(shop):
    return {r.id: r.image for r in Folder().records(shop.root, "train") if not r.label}


def test_photographs_in_an_archive_are_unpacked_once_and_again_when_it_changed(shop, archive, boxes):
    for name in ("a", "c"):
        shop.mask(f"{name}.png", boxes)
    shop.prepare(archive)
    found = unlabeled(shop)
    assert set(found) == {"day1/b", "export/train/images/x", "export/valid/images/y"}
    assert all(path.is_file() for path in found.values())
    assert shop.told("1 file, ", "README.txt: of no format that is read: the pictures are taken alone")
    when = found["export/train/images/x"].stat().st_mtime_ns
    shop.prepare(archive)
    assert unlabeled(shop)["export/train/images/x"].stat().st_mtime_ns == when
    with zipfile.ZipFile(archive, "a") as packed:
        packed.write(shop.image("z", folder="../x"), "z.jpg")
    shop.prepare(archive)
    assert "export/z" in unlabeled(shop)


def test_an_archive_that_is_damaged_leaves_nothing_behind(shop, archive):
    data = bytearray(archive.read_bytes())
    at = data.index(b"valid/images/y.jpg") + 60
    data[at : at + 20] = bytes(20)
    archive.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"valid/images/y\.jpg: the archive is damaged"):
        shop.prepare(archive)
    assert not [path for path in (shop.root / "prepared").rglob("*") if path.suffix == ".jpg"]
