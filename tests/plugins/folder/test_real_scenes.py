"""Real street scenes go in as colours and as files of annotation tools, and real VOC masks are counted."""

import base64
import io
import json
import zipfile
import zlib
from importlib.resources import files

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from semivl_plugins.folder import Folder
from semivl_plugins.voc import VOC

from semivl_cli.concepts.load import load_definition
from semivl_cli.data.choose.survey import survey
from semivl_cli.data.read.images import read_label

EVERY = 24
"""One street scene in so many: all of them take minutes."""


@pytest.fixture
def scenes(test_data):
    """Id -> class map of some street scenes."""
    paths = sorted((test_data / "camvid" / "masks").iterdir())[::EVERY]
    return {path.stem: np.array(Image.open(path)) for path in paths}


def rgb(ids, colors):
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colors)] = colors
    data = io.BytesIO()
    Image.fromarray(palette[ids]).save(data, "PNG")
    return data.getvalue()


def as_colors(root, scenes, definition):
    (root / "masks").mkdir()
    (root / "dataset.toml").write_text('ignore = ["#000000"]')
    for name, ids in scenes.items():
        (root / "masks" / f"{name}.png").write_bytes(rgb(ids, definition.colors))
    return ()


def as_coco(root, scenes, definition):
    annotations = []
    for number, ids in enumerate(scenes.values()):
        for value in set(np.unique(ids).tolist()) - {255}:
            code = coco_mask.encode(np.asfortranarray((ids == value).astype(np.uint8)))
            segmentation = {"size": code["size"], "counts": code["counts"].decode()}
            annotations.append(
                {"id": len(annotations), "image_id": number, "category_id": value + 1, "segmentation": segmentation}
            )
    images = [{"id": number, "file_name": f"{name}.jpg"} for number, name in enumerate(scenes)]
    categories = [{"id": number, "name": name} for number, name in enumerate(definition.names, start=1)]
    path = root / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return (path,)


def as_cvat(root, scenes, definition):
    path = root / "task.zip"
    with zipfile.ZipFile(path, "w") as archive:
        lines = [
            f"{name}:{red},{green},{blue}::"
            for name, (red, green, blue) in zip(definition.names, definition.colors, strict=True)
        ]
        archive.writestr("labelmap.txt", "\n".join(["# label:color_rgb:parts:actions", "background:0,0,0::", *lines]))
        for name, ids in scenes.items():
            archive.writestr(f"SegmentationClass/{name}.png", rgb(ids, definition.colors))
    return (path,)


def regions(ids, definition):
    """Yield label, left, top and pixels of every class of a map, within their box."""
    for value in set(np.unique(ids).tolist()) - {255}:
        inside = ids == value
        (top, bottom), (left, right) = (np.flatnonzero(inside.any(axis=axis))[[0, -1]].tolist() for axis in (1, 0))
        yield definition.names[value], left, top, inside[top : bottom + 1, left : right + 1]


def base64_png(pixels, pack=bytes, **how):
    picture = Image.fromarray(pixels.astype(np.uint8))
    if how:
        picture.putpalette([0, 0, 0, 255, 255, 255])
    data = io.BytesIO()
    picture.save(data, "PNG", **how)
    return base64.b64encode(pack(data.getvalue())).decode()


def as_labelme(root, scenes, definition):
    for name, ids in scenes.items():
        shapes = [
            {
                "label": label,
                "points": [[left, top], [left + inside.shape[1] - 1, top + inside.shape[0] - 1]],
                "shape_type": "mask",
                "mask": base64_png(inside),
            }
            for label, left, top, inside in regions(ids, definition)
        ]
        (root / f"{name}.json").write_text(json.dumps({"imagePath": f"..\\{name}.jpg", "shapes": shapes}))
    return [root / f"{name}.json" for name in scenes]


def as_supervisely(root, scenes, definition):
    folder = root / "project" / "ds0" / "ann"
    folder.mkdir(parents=True)
    classes = [{"title": name, "shape": "bitmap", "color": "#010203"} for name in definition.names]
    (root / "project" / "meta.json").write_text(json.dumps({"classes": classes, "tags": []}))
    for name, ids in scenes.items():
        objects = [
            {
                "classTitle": label,
                "geometryType": "bitmap",
                "bitmap": {"data": base64_png(inside, zlib.compress, transparency=0), "origin": [left, top]},
            }
            for label, left, top, inside in regions(ids, definition)
        ]
        size = {"height": ids.shape[0], "width": ids.shape[1]}
        (folder / f"{name}.jpg.json").write_text(json.dumps({"size": size, "tags": [], "objects": objects}))
    return (root / "project",)


def as_label_studio(root, scenes, definition):
    tasks = []
    for number, (name, ids) in enumerate(scenes.items()):
        results = []
        for label, left, top, inside in regions(ids, definition):
            rgba = np.zeros((*ids.shape, 4), np.uint8)
            rgba[top : top + inside.shape[0], left : left + inside.shape[1], 3] = 255 * inside
            value = {"imageDataURL": f"data:image/png;base64,{base64_png(rgba)}", "bitmasklabels": [label]}
            results.append({"id": label, "type": "bitmasklabels", "to_name": "image", "value": value})
        data = {"image": f"/data/upload/3/{number:08x}-{name}.jpg"}
        tasks.append({"id": number, "data": data, "annotations": [{"result": results}]})
    (root / "project.json").write_text(json.dumps(tasks))
    return (root / "project.json",)


@pytest.mark.parametrize("form", [as_colors, as_coco, as_cvat, as_labelme, as_supervisely, as_label_studio])
def test_street_scenes_give_the_same_class_maps_in_every_form(tmp_path, test_data, scenes, form):
    definition = load_definition("camvid")
    (tmp_path / "images").symlink_to(test_data / "camvid" / "images")
    classes = tuple(zip(definition.names, definition.colors, strict=True))
    folder = Folder()
    folder.prepare(tmp_path, form(tmp_path, scenes, definition), classes, False, lambda line: None)
    assert folder.problems == {}
    records = [record for split in ("train", "val") for record in folder.records(tmp_path, split) if record.label]
    assert {record.id for record in records} == set(scenes)
    for record in records:
        assert (read_label(record, folder, definition.names) == scenes[record.id]).all()


def test_neighbouring_frames_of_a_film_are_a_note(tmp_path, test_data):
    ids = {"train": ["0016E5_07500", "0016E5_06780"], "val": ["0016E5_08053", "0016E5_08055"]}
    for folder, suffix in (("images", "jpg"), ("masks", "png")):
        (tmp_path / folder).mkdir()
        for name in (*ids["train"], *ids["val"]):
            (tmp_path / folder / f"{name}.{suffix}").symlink_to(test_data / "camvid" / folder / f"{name}.{suffix}")
    (tmp_path / "val.txt").write_text("\n".join(ids["val"]))
    found = survey(Folder(), tmp_path, load_definition("camvid").names)
    assert found.problems == ()
    assert any("like training images, as frames of one film do" in note for note in found.notes)


def test_voc_masks_have_the_shares_of_a_plain_count_of_their_palette_indices(tmp_path, test_data):
    source = test_data / "voc_masks" / "SegmentationClassAug"
    (tmp_path / "SegmentationClassAug").symlink_to(source)
    (tmp_path / "JPEGImages").mkdir()
    listed = {
        name
        for split in ("labeled-92.txt", "val.txt")
        for name in files("semivl_plugins.voc").joinpath("splits", split).read_text().split()
    }
    counts = np.zeros(256, np.int64)
    for path in source.iterdir():
        with Image.open(path) as mask:
            assert mask.mode == "P"
            counts += np.bincount(np.array(mask).ravel(), minlength=256) * (path.stem in listed)
            Image.new("RGB", mask.size).save(tmp_path / "JPEGImages" / f"{path.stem}.jpg")
    found = survey(VOC(), tmp_path, load_definition("voc").names)
    assert list(found.class_shares.values()) == (counts[:21] / counts[:21].sum()).tolist()
    assert found.ignored_share == counts[255] / counts.sum()
