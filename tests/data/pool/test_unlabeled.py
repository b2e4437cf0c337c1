import dataclasses
import io
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.config import DataSettings
from semivl_cli.data.choose.index import build_index, check_labels
from semivl_cli.data.contract import TarEntry
from semivl_cli.data.load.batches import train_batches
from semivl_cli.data.pool import shards
from semivl_cli.data.pool.unlabeled import Pool
from semivl_cli.data.read.images import image_size, read_image, read_thumbnail
from semivl_cli.errors import InputError
from semivl_cli.settings_toml import resolve

TENSORS = ("x_image", "x_label", "u_image", "u_ignore", "partner_image", "partner_ignore", "boxes")


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


@pytest.fixture
def photos(tmp_path):
    """Thirty images as files, and the same ones in three shards."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number:03d}.jpg").write_bytes(jpeg(8 * number))
    (tmp_path / "shards").mkdir()
    for shard in range(3):
        samples = [(f"{n:03d}.jpg", jpeg(8 * n)) for n in range(10 * shard, 10 * shard + 10)]
        others = [(f"{n:03d}.json", b"{}") for n in range(10 * shard, 10 * shard + 10)]
        write_shard(
            tmp_path / "shards" / f"s-{shard:02d}.tar", [m for pair in zip(samples, others, strict=True) for m in pair]
        )
    return tmp_path


def build(world, *more, say=lambda _: None):
    given = [str(path) for path in more]
    data = DataSettings(labels=4, unlabeled=given)
    return build_index(Folder(), world.root, data, seed=0, class_names=world.names, say=say)


def batches(index, start=0, stop=3, *, workers=0, batch=8, crop=24, damaged="auto", **more):
    config = resolve(
        {
            "data": {"crop": crop, "workers": workers, "damaged": damaged},
            "augment": {"flip": 0.5, "blur": 0.5, "partner": "same_image"},
            "training": {"batch": batch},
        }
    )
    made = train_batches(index, Folder(), ("ground", "tree", "car"), config, range(start, stop), **more)
    return list(made)


def same(one, two):
    tensors = all(torch.equal(getattr(one, name), getattr(two, name)) for name in TENSORS)
    return tensors and one.passed_over == two.passed_over and one.colors == two.colors


def names(index):
    return sorted(Path(record.id).name for record in index.unlabeled)


@pytest.mark.parametrize(
    "given",
    [
        ["photos"],
        ["photos/*.jpg"],
        ["**/0*.jpg"],
        ["photos/**"],
        ["ph*/**/*.jpg"],
        ["photos/00*.jpg", "photos/0[12]*.jpg"],
        ["list.txt"],
        ["photos/{000..029}.jpg"],
        ["photos/{0..2}"],
    ],
)
def test_folders_patterns_and_lists_name_the_same_images(world, photos, given):
    (photos / "list.txt").write_text("\ufeff" + "\r\n".join(f"photos/{n:03d}.jpg" for n in range(30)) + "\n\n", "utf-8")
    if given == ["photos/{0..2}"]:
        for number in range(3):
            (photos / "photos" / str(number)).mkdir()
            for name in range(10 * number, 10 * number + 10):
                (photos / "photos" / f"{name:03d}.jpg").rename(photos / "photos" / str(number) / f"{name:03d}.jpg")
    index = build(world, *(photos / entry for entry in given))
    assert names(index)[:30] == [f"{n:03d}.jpg" for n in range(30)]
    assert len(index.unlabeled) == 13 + 30
    assert "30 unlabelled images come from data.unlabeled (0 tar shards)" in index.notes


@pytest.mark.parametrize("given", ["photos", "photos/**/*.jpg"])
def test_links_to_folders_above_and_hidden_files_add_nothing(world, photos, given):
    (photos / "photos" / "._000.jpg").write_bytes(b"what a Mac leaves")
    (photos / "photos" / ".trash").mkdir()
    (photos / "photos" / ".trash" / "900.jpg").write_bytes(jpeg(1))
    (photos / "photos" / "here").symlink_to(photos / "photos")
    (photos / "photos" / "deep").mkdir()
    (photos / "photos" / "deep" / "up").symlink_to(photos)
    index = build(world, photos / given)
    assert names(index)[:30] == [f"{n:03d}.jpg" for n in range(30)]
    assert len(index.unlabeled) == 13 + 30


def test_a_name_that_is_no_utf8_is_found(world, photos):
    strange = os.fsencode(photos / "photos") + b"/\xff\xfe.jpg"
    Path(os.fsdecode(strange)).write_bytes(jpeg(9))
    index = build(world, photos / "photos")
    assert read_image(index.unlabeled[-1].image).shape == (32, 32, 3)
    assert len(index.split()["unlabeled"]["sha256"]) == 64


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_shards_give_the_same_batches_whatever_the_number_of_workers(world, photos, workers):
    index = build(world, photos / "shards" / "s-{00..02}.tar")
    assert isinstance(index.unlabeled, Pool)
    expected = batches(index, stop=6)
    assert all(same(one, two) for one, two in zip(batches(index, stop=6, workers=workers), expected, strict=True))
    assert all(same(one, two) for one, two in zip(batches(index, 4, 6, workers=workers), expected[4:], strict=True))
    part = batches(index, 4, 6, workers=workers, rank_slice=slice(2, 5))
    assert all(torch.equal(one.u_image, two.u_image[2:5]) for one, two in zip(part, expected[4:], strict=True))


def test_an_entry_of_a_shard_reads_as_the_file_it_was(world, photos):
    loose, packed = build(world, photos / "photos"), build(world, photos / "shards")
    for one, two in zip(loose.unlabeled[13:], packed.unlabeled[13:], strict=True):
        assert isinstance(two.image, TarEntry)
        assert np.array_equal(read_image(one.image), read_image(two.image))
        assert image_size(one.image) == image_size(two.image) == read_thumbnail(two.image)[0]


def test_entries_in_the_place_of_paths_change_no_batch(world, photos):
    loose, packed = build(world, photos / "photos"), build(world, photos / "shards")
    paths = tuple(loose.unlabeled)
    members = tuple(
        dataclasses.replace(record, image=packed.unlabeled[place].image) for place, record in enumerate(paths)
    )
    one, two = (batches(dataclasses.replace(loose, unlabeled=records)) for records in (paths, members))
    assert all(same(a, b) for a, b in zip(one, two, strict=True))


def test_each_image_of_a_pool_comes_once_an_epoch(world, photos):
    pool = build(world, photos / "shards").unlabeled
    assert sorted(pool.at(place, (0, 1, 0)) for place in range(43)) == list(range(43))


def test_shards_without_an_image_are_told_and_refused_where_there_is_nothing_else(world, photos):
    bare = write_shard(photos / "bare.tar", [("a.json", b"{}")])
    with pytest.raises(InputError, match=r"bare\.tar holds no image: expected members such as"):
        build(world, bare)
    assert f"tar shards without an image: 1, the first is {bare}" in build(world, bare, photos / "shards").notes


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("nowhere", "nowhere does not exist: expected a folder, an image"),
        ("empty", "empty holds no image"),
        ("photos/*.tif", r"photos/\*\.tif holds no image"),
        ("shards/s-{00..03}.tar", r"s-03\.tar does not exist \(.*\{00\.\.03\}"),
        ("notes.pdf", "notes.pdf is none of"),
        ("wrong.txt", r"wrong\.txt:1: '0001' is neither an image nor a \.tar"),
        ("nul.txt", r"nul\.txt:1: 'a\\x00b\.tar' is neither"),
        ("packed.tar", "packed.tar is compressed.*unpack"),
        ("photos/000.jpg", "000.jpg is given twice"),
        ("shards/s-00.tar", "s-00.tar is given twice"),
    ],
)
def test_what_cannot_be_meant_is_one_line(world, photos, entry, message):
    (photos / "empty").mkdir()
    (photos / "notes.pdf").write_bytes(b"%PDF")
    (photos / "wrong.txt").write_text("0001\n")
    (photos / "nul.txt").write_text("a\0b.tar\n")
    with tarfile.open(photos / "packed.tar", "w:gz") as tar:
        tar.add(photos / "photos" / "000.jpg", "000.jpg")
    with pytest.raises(InputError, match=message):
        build(world, photos / "photos", photos / "shards", photos / entry)


def test_labelled_and_validation_images_in_a_pool_are_not_learned_from(world, photos):
    index = build(world, world.root / "images")  # the whole dataset, given as a pool
    assert "7 images of data.unlabeled are labelled or validation images: left out" in index.notes
    assert not {str(r.image) for r in (*index.labeled, *index.val)} & {r.id for r in index.unlabeled}
    for place, record in enumerate((*index.labeled, *index.val)):  # copies, under other names
        shutil.copy(record.image, photos / "photos" / f"copy-{place}.png")
    index = build(world, photos / "photos")
    check_labels(index, Folder(), world.names)
    batch, *_ = made = batches(index, stop=6)
    passed_over = [line for batch in made for line in batch.passed_over]
    assert passed_over
    assert all("copy-" in line and line.endswith("is a labelled or validation image") for line in passed_over)
    assert batch.u_image.shape[0] == 8


def test_a_path_of_a_list_that_is_not_there_counts_as_damaged(world, photos):
    (photos / "list.txt").write_text("photos/000.jpg\nnowhere.jpg\n")
    index = build(world, photos / "list.txt")
    check_labels(index, Folder(), world.names)
    (line,) = {line for batch in batches(index, stop=6) for line in batch.passed_over}
    assert line.endswith("nowhere.jpg: no such file")


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_images_of_a_pool_are_passed_over_and_told(world, photos, workers):
    for number in range(0, 30, 3):
        (photos / "photos" / f"{number:03d}.jpg").write_bytes(jpeg(3)[:200])
    index = build(world, photos / "photos")
    made, expected = batches(index, stop=6, workers=workers), batches(index, stop=6)
    assert all(same(one, two) for one, two in zip(made, expected, strict=True))
    assert {len(batch.u_image) for batch in made} == {8}
    assert 5 < len([line for batch in made for line in batch.passed_over if "cannot be read" in line]) < 40
    with pytest.raises(InputError, match="the image cannot be read"):
        batches(index, stop=6, damaged="refuse", workers=workers)


def test_a_datasets_own_damaged_image_is_refused_unless_asked_otherwise(world, photos):
    index = build(world, photos / "photos")
    index.unlabeled[0].image.write_bytes(b"broken")
    with pytest.raises(InputError, match="not an image that can be read"):
        batches(index, stop=8)
    assert any(batch.passed_over for batch in batches(index, stop=8, damaged="skip"))


def test_a_pool_that_is_gone_ends_the_training(world, photos):
    index = build(world, photos / "shards")
    few = dataclasses.replace(index, unlabeled=index.unlabeled[13:])
    shutil.rmtree(photos / "shards")
    shards._table.cache_clear()
    with pytest.raises(InputError, match=r"100 images in a row cannot be used, the first: .*the shard cannot be read"):
        batches(few, damaged="skip")


def test_the_split_of_a_run_knows_the_shards(world, photos):
    before = build(world, photos / "shards").split()["unlabeled"]
    assert before == build(world, photos / "shards").split()["unlabeled"]
    write_shard(photos / "shards" / "s-01.tar", [("1.jpg", jpeg(1))])
    assert build(world, photos / "shards").split()["unlabeled"] != before
    assert build(world, *()).split()["unlabeled"]["count"] == 13
