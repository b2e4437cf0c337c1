"""Every reader of semivl with files in true form: the table that `fuzz.py` damages, a row a reader.

A new format is one more row: its name, its files as its tool writes them, and what reads them.
"""

import base64
import io
import json
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from semivl_plugins.coco import COCO
from semivl_plugins.folder import Folder
from semivl_plugins.voc import VOC

from semivl_cli.cli import app
from semivl_cli.concepts.validate import validate
from semivl_cli.data.choose.index import list_records
from semivl_cli.data.choose.survey import survey
from semivl_cli.data.contract import TarEntry
from semivl_cli.data.fetch.archives import unpack
from semivl_cli.data.ids import read_ids
from semivl_cli.data.pool.hidden_masks import Hidden
from semivl_cli.data.pool.records import Records
from semivl_cli.data.pool.unlabeled import open_pool
from semivl_cli.data.read.images import image_size, read_image, read_raw_label, read_thumbnail
from semivl_cli.engine.infer.predictor import load
from semivl_cli.engine.prepare import checkpoint
from semivl_cli.engine.rundir import layout
from semivl_cli.engine.rundir.metrics_log import Metrics
from semivl_cli.engine.train.best_step import read_result
from semivl_cli.errors import InputError
from semivl_cli.files import is_file
from semivl_cli.labels_option import read_labels
from semivl_cli.model.clip import load_clip
from semivl_cli.report.run import read_run
from semivl_cli.settings_toml import parse_assignments, read_settings, resolve

CLASSES = (("background", (0, 0, 0)), ("road", (128, 64, 128)), ("car", (0, 0, 142)))
NAMES = [name for name, _ in CLASSES]
HEIGHT, WIDTH = 12, 16
RUNS = Path(__file__).parents[1] / "e2e" / "earlier_runs"


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One reader: `files` gives what it reads, path -> bytes; those under `fixed/` are never damaged."""

    name: str
    files: Callable[[], dict[str, bytes]]
    read: Callable[[Path], object]


# Pictures


def encoded(pixels, kind="PNG", **options):
    data = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(data, kind, **options)
    return data.getvalue()


def photo(seed=0):
    return np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


def classes():
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[3:9, 4:12] = 1
    ids[5:7, 6:9] = 2
    return ids


def colors():
    return np.array([color for _, color in CLASSES], np.uint8)[classes()]


def palette(order=(0, 1, 2)):
    picture = Image.fromarray(classes())
    picture.putpalette(bytes(part for number in order for part in CLASSES[number][1]))
    return picture


def exif():
    found = Image.Exif()
    found[0x0112], found[0x010F], found[0x0132] = 6, "maker", "2024:01:01 00:00:00"
    found.get_ifd(0x8769)[0x9286] = b"comment"
    return found


@cache
def pictures():
    rgb, deep = photo(), np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 300
    frames = [Image.fromarray(photo(seed)) for seed in range(3)]
    return {
        "a.jpg": encoded(rgb, "JPEG", exif=exif()), "b.png": encoded(rgb), "c.png": encoded(deep), "d.png": encoded(palette()),
        "e.tif": encoded(rgb, "TIFF"), "f.tif": encoded(deep, "TIFF"), "g.tif": encoded(rgb[..., 0].astype(np.float32) / 255, "TIFF"),
        "h.webp": encoded(rgb, "WEBP"), "i.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "j.bmp": encoded(rgb, "BMP"),
        "k.ppm": encoded(rgb, "PPM"), "l.tif": encoded(rgb, "TIFF", compression="tiff_lzw"), "m.png": encoded(np.dstack([rgb, rgb[..., :1]])),
        "n.tga": encoded(rgb, "TGA"), "o.jp2": encoded(rgb, "JPEG2000"), "p.jpg": encoded(rgb, "JPEG", progressive=True), "q.pcx": encoded(rgb, "PCX"),
        "r.tif": encoded(deep.astype(np.int32), "TIFF"), "s.png": encoded(Image.fromarray(classes() > 0)), "t.tif": encoded(rgb, "TIFF", compression="jpeg"),
        "u.png": encoded(rgb, exif=exif()), "v.webp": encoded(rgb, "WEBP", exif=exif(), lossless=True), "w.jpg": encoded(Image.fromarray(rgb).convert("CMYK"), "JPEG"),
        "x.tif": encoded(Image.fromarray(classes() > 0), "TIFF", compression="group4"), "y.dds": encoded(rgb, "DDS"), "z.mpo": encoded(frames[0], "MPO", save_all=True, append_images=frames[1:]),
    }  # fmt: skip


def read_pictures(folder):
    """Read each as an image, as a mask, and as part of a dataset; what one refuses is nothing to the others."""
    for path in sorted(folder.rglob("*")):
        for read in (image_size, read_image, read_thumbnail, read_raw_label):
            if path.is_file():
                apart(read, path)


def apart(read, *arguments):
    """Read, where a refusal of one part must not hide the others; an `InputError` of several lines is still wrong."""
    try:
        return read(*arguments)
    except InputError as error:
        one_line(str(error))


def one_line(text):
    """Fail where something that is said does not fit into one line; what names hold is written out by the console."""
    for name in ("new\nline", "a\nb", "\r"):
        text = text.replace(name, "name")
    if "\n" in text or "\r" in text or not text.strip():
        raise AssertionError(f"not one line: {text[:300]!r}")
    text.encode("utf-8", "surrogateescape")


# A folder dataset, and annotations beside it


def root(masks=("c",)):
    files = {
        f"fixed/data/images/{name}.png": encoded(photo(number)) for number, name in enumerate(("a", "day1/b", "c", "d"))
    }
    return (
        files | {f"fixed/data/masks/{name}.png": encoded(classes()) for name in masks} | {"fixed/data/val.txt": b"c\n"}
    )


def prepare(folder):
    """Do what `semivl prepare data folder --from` does, with a definition and without."""
    data = folder / "fixed" / "data"
    sources = sorted(path for path in folder.iterdir() if path.name != "fixed")
    for source in sources:
        apart(Folder().find_classes, data, [source], one_line)
    dataset = Folder()
    dataset.prepare(data, sources, CLASSES, False, one_line)
    found = survey(dataset, data, NAMES)
    for line in (*found.problems, *found.notes):
        one_line(line)
    again = Folder()
    again.check_masks([record for split in ("train", "val") for record in again.records(data, split)])


def annotations(name, files, *, packed=True):
    """Rows for a format: as a folder, and as an archive of it."""
    yield Reader(
        name=name, files=lambda: root() | {f"from/{path}": data for path, data in files().items()}, read=prepare
    )
    if packed:
        yield Reader(name=f"{name} (zip)", files=lambda: root() | {"from.zip": zipped(files())}, read=prepare)


def zipped(files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return data.getvalue()


def as_json(content):
    return json.dumps(content).encode()


SQUARE = [[2.5, 3.0], [9.0, 3.5], [9.5, 8.0], [2.0, 8.25]]
FLAT = [number for point in SQUARE for number in point]


def coco():
    runs = {"size": [HEIGHT, WIDTH], "counts": [20, 5, HEIGHT * WIDTH - 25]}
    segments = [[FLAT], runs, {"size": [HEIGHT, WIDTH], "counts": "c1660000000000000]1"}, [FLAT, [1, 1, 4, 1, 4, 4]]]
    content = {
        "info": {"year": 2024, "version": "1", "description": "x", "date_created": "2024-01-01"},
        "licenses": [{"id": 1, "name": "", "url": ""}],
        "images": [{"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH, "license": 1, "date_captured": 0} for number, name in enumerate(("a.png", "day1/b.png", "d.png"), 1)],
        "categories": [{"id": number, "name": name, "supercategory": ""} for number, name in enumerate(NAMES[1:], 1)],
        "annotations": [
            {"id": number, "image_id": 1 + number % 2, "category_id": 1 + number % 2, "segmentation": segment, "area": 30.5, "bbox": [2, 3, 7, 5], "iscrowd": int(isinstance(segment, dict)), "attributes": {"occluded": False}}
            for number, segment in enumerate(segments, 1)
        ],
    }  # fmt: skip
    return {"annotations/instances_default.json": as_json(content)}


def panoptic():
    ids = classes().astype(np.uint32)
    colors = np.stack([ids % 256, ids // 256, ids // 65536], 2).astype(np.uint8)
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": [{"id": 1, "category_id": 1, "area": 48, "bbox": [4, 3, 8, 6], "iscrowd": 0}, {"id": 2, "category_id": 2, "area": 6, "bbox": [6, 5, 3, 2], "iscrowd": 0}]}],
        "categories": [{"id": 1, "name": "road", "isthing": 0, "color": [128, 64, 128]}, {"id": 2, "name": "car", "isthing": 1, "color": [0, 0, 142]}],
    }  # fmt: skip
    return {"panoptic.json": as_json(content), "panoptic/a.png": encoded(colors)}


def labelme():
    mask = base64.b64encode(encoded(classes()[3:9, 4:12] > 0)).decode()
    kinds = [
        ("polygon", SQUARE, None),
        ("rectangle", [[1, 1], [5, 6]], None),
        ("circle", [[6, 6], [9, 6]], None),
        ("mask", [[4, 3], [11, 8]], mask),
        ("oriented_rectangle", SQUARE, None),
        ("linestrip", SQUARE, None),
        ("point", [[1, 1]], None),
    ]
    shapes = [
        {
            "label": NAMES[1 + number % 2],
            "points": points,
            "group_id": None,
            "description": "",
            "shape_type": kind,
            "flags": {},
            "mask": data,
        }
        for number, (kind, points, data) in enumerate(kinds)
    ]
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": "a.png",
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }
    return {
        "a.json": as_json(content),
        "day1/b.json": as_json({**content, "imagePath": "..\\day1\\b.png", "shapes": shapes[:2]}),
    }


def x_anylabeling():
    shapes = [
        {
            "label": "road",
            "score": None,
            "points": SQUARE,
            "group_id": None,
            "description": "",
            "difficult": False,
            "shape_type": "rotation",
            "flags": {},
            "attributes": {},
            "kie_linking": [],
            "direction": 0.5,
        }
    ]
    return {
        "a.json": as_json(
            {
                "version": "2.5.4",
                "flags": {},
                "shapes": [*shapes, {**shapes[0], "shape_type": "rectangle"}],
                "imagePath": "a.png",
                "imageData": None,
                "imageHeight": HEIGHT,
                "imageWidth": WIDTH,
            }
        )
    }


BRUSH = list(
    base64.b64decode(
        "AAADADkb/s8AByB4EJ/wcgeBCf8HIHgQn/ByB4EJ/wcgeBCf8HIHgQn/ByB4EJ/wcgeBCf/D4ADkDwIT/g5A8CE/4OQPAhP+DkDwIT/g5A8CE/4OQPAhP+DkDwIT/g5A8CE/+HwAHIHgQn/ByB4EJ/wcgeBCf8HIHgQn/ByB4EJ/wcgeBCf8HIHgQn/ByB4EJ/8PgAOQPAhP+DkDwIT/g5A8CE/4OQPAhP+DkDwIT/g5A8CE/4OQPAhP+DkDwIT/4fAAcgeBCf8HIHgQn/ByB4EJ/wcgeBCf8HIHgQn/ByB4EJ/wcgeBCf8HIHgQn/w+AA5A8CE/4OQPAhP+DkDwIT/g5A8CE/4OQPAhP+DkDwIT/g5A8CE/4OQPAhP/s8AA"
    )
)
"""What Label Studio makes of a rectangle that was painted."""


def region(kind, value):
    return {
        "id": f"r{kind}",
        "type": kind,
        "from_name": "tag",
        "to_name": "image",
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "value": value,
        "origin": "manual",
    }


def label_studio():
    percent = [[x / WIDTH * 100, y / HEIGHT * 100] for x, y in SQUARE]
    result = [
        region("polygonlabels", {"points": percent, "closed": True, "polygonlabels": ["road"]}),
        region(
            "rectanglelabels", {"x": 10, "y": 20, "width": 30, "height": 40, "rotation": 15, "rectanglelabels": ["car"]}
        ),
        region(
            "ellipselabels", {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 0, "ellipselabels": ["road"]}
        ),
        region("brushlabels", {"format": "rle", "rle": BRUSH, "brushlabels": ["car"]}),
    ]
    task = {
        "id": 1,
        "data": {"image": "/data/upload/1/e875f554-a.png"},
        "annotations": [
            {
                "id": 5,
                "was_cancelled": False,
                "ground_truth": False,
                "result": result,
                "updated_at": "2024-01-01T00:00:00Z",
            }
        ],
        "predictions": [],
        "meta": {},
        "project": 1,
    }
    several = {
        "id": 2,
        "data": {"images": ["/data/upload/1/e875f554-d.png", "/data/local-files/?d=day1/b.png"]},
        "annotations": [{"id": 6, "result": [{**result[0], "item_index": 1}]}],
    }
    return {"project.json": as_json([task, several])}


def label_studio_min():
    percent = [[x / WIDTH * 100, y / HEIGHT * 100] for x, y in SQUARE]
    return {
        "min.json": as_json(
            [
                {
                    "image": "s3://bucket/day1/b.png",
                    "id": 2,
                    "tag": [
                        {
                            "points": percent,
                            "closed": True,
                            "polygonlabels": ["road"],
                            "original_width": WIDTH,
                            "original_height": HEIGHT,
                        }
                    ],
                    "annotator": 1,
                    "annotation_id": 2,
                    "created_at": "",
                    "updated_at": "",
                    "lead_time": 1.5,
                }
            ]
        )
    }


def label_studio_pictures():
    return {
        "task-1-annotation-5-by-1-tag-road-0.png": encoded((classes() == 1).astype(np.uint8) * 255),
        "task-1-annotation-5-by-1-tag-car-1.png": encoded((classes() == 2).astype(np.uint8) * 255),
    }


def via():
    regions = [
        {
            "shape_attributes": {"name": "polygon", "all_points_x": [2, 9, 9, 2], "all_points_y": [3, 3, 8, 8]},
            "region_attributes": {"class": "road"},
        },
        {
            "shape_attributes": {"name": "rect", "x": 1, "y": 1, "width": 4, "height": 3},
            "region_attributes": {"class": "car"},
        },
        {
            "shape_attributes": {"name": "ellipse", "cx": 5, "cy": 5, "rx": 3, "ry": 2, "theta": 0.1},
            "region_attributes": {"class": "car"},
        },
    ]
    entry = {"filename": "a.png", "size": 800, "regions": regions, "file_attributes": {}}
    project = {
        "_via_settings": {"ui": {}, "core": {}, "project": {"name": "x"}},
        "_via_img_metadata": {"a.png800": entry},
        "_via_attributes": {"region": {"class": {"type": "dropdown", "options": {"road": "", "car": ""}}}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": ["a.png800"],
    }
    return {"via.json": as_json(project), "regions.json": as_json({"b.png9": {**entry, "filename": "b.png"}})}


def supervisely():
    bitmap = base64.b64encode(zlib.compress(encoded(classes()[3:9, 4:12] > 0))).decode()
    objects = [
        {
            "id": 1,
            "classId": 1,
            "classTitle": "road",
            "geometryType": "polygon",
            "description": "",
            "tags": [],
            "points": {"exterior": SQUARE, "interior": [[[4, 5], [6, 5], [6, 7]]]},
        },
        {
            "id": 2,
            "classId": 2,
            "classTitle": "car",
            "geometryType": "bitmap",
            "tags": [],
            "bitmap": {"data": bitmap, "origin": [4, 3]},
        },
        {
            "id": 3,
            "classId": 2,
            "classTitle": "car",
            "geometryType": "rectangle",
            "tags": [],
            "points": {"exterior": [[1, 1], [5, 6]], "interior": []},
        },
    ]
    meta = {
        "classes": [
            {"title": name, "shape": "any", "color": "#804080", "geometry_config": {}, "id": number, "hotkey": ""}
            for number, name in enumerate(NAMES)
        ],
        "tags": [],
        "projectType": "images",
    }
    return {
        "project/meta.json": as_json(meta),
        "project/ds/ann/a.png.json": as_json(
            {"description": "", "tags": [], "size": {"height": HEIGHT, "width": WIDTH}, "objects": objects}
        ),
        "project/ds/img/a.png": encoded(photo()),
    }


def cityscapes_json():
    objects = [
        {"label": "road", "polygon": SQUARE},
        {"label": "car", "polygon": [[1, 1], [4, 1], [4, 4]]},
        {"label": "ego vehicle", "polygon": []},
    ]
    return {
        "gtFine/train/x/a_gtFine_polygons.json": as_json({"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": objects})
    }


def datumaro():
    square = [float(number) for corner in SQUARE for number in corner]
    shapes = [
        {"id": 0, "type": "polygon", "label_id": 1, "points": square, "z_order": 0, "group": 0},
        {"id": 1, "type": "bbox", "label_id": 2, "bbox": [1.0, 1.0, 3.0, 3.0], "z_order": 1, "group": 0},
        {"id": 2, "type": "ellipse", "label_id": 1, "points": [1.0, 1.0, 4.0, 4.0], "z_order": 0, "group": 0},
        {"id": 3, "type": "mask", "label_id": 1, "rle": {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH - 3, 3]}},
    ]
    items = [{"id": "a", "annotations": shapes, "image": {"path": "a.jpg", "size": [HEIGHT, WIDTH]}}]
    labels = [{"name": name, "parent": "", "attributes": []} for name in NAMES]
    colors = [{"label_id": 1, "r": 1, "g": 2, "b": 3}]
    categories = {"label": {"labels": labels}, "mask": {"colormap": colors}}
    return {"annotations/train.json": as_json({"infos": {}, "categories": categories, "items": items})}


def cvat_masks():
    labelmap = b"# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\ncar:0,0,142::\n"
    return {
        "labelmap.txt": labelmap,
        "ImageSets/Segmentation/default.txt": b"a\nday1/b\n",
        "SegmentationClass/a.png": encoded(colors()),
        "SegmentationClass/day1/b.png": encoded(palette()),
        "SegmentationObject/a.png": encoded(colors()),
    }


def cvat_xml():
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in SQUARE)
    labels = "".join(
        f"<label><name>{name}</name><color>#804080</color><type>any</type><attributes></attributes></label>"
        for name in NAMES
    )
    return {
        "annotations.xml": f"""<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><id>1</id><name>x</name><size>2</size><mode>annotation</mode><labels>{labels}</labels></task></meta>
<image id="0" name="a.png" width="{WIDTH}" height="{HEIGHT}">
<polygon label="road" source="manual" occluded="0" points="{points}" z_order="0"></polygon>
<box label="car" source="manual" occluded="0" xtl="1.00" ytl="1.00" xbr="5.00" ybr="6.00" z_order="1" rotation="10"></box>
<mask label="car" source="manual" occluded="0" rle="2, 5, 3, 5, 9" left="3" top="3" width="8" height="3" z_order="2"></mask>
<ellipse label="road" source="manual" occluded="0" cx="8" cy="6" rx="3" ry="2" z_order="0"></ellipse>
<polyline label="road" source="manual" occluded="0" points="{points}" z_order="0"></polyline>
<skeleton label="road" z_order="0"><points label="1" points="1.00,1.00" outside="0"></points></skeleton>
</image></annotations>""".encode()
    }


def voc():
    return {
        "SegmentationClass/a.png": encoded(palette()),
        "SegmentationClass/b.png": encoded(classes()),
        "class_names.txt": b"background\nroad\ncar\n",
        "JPEGImages/a.jpg": encoded(photo(), "JPEG"),
    }


def voc_xml():
    corners = "".join(
        f"<x{number}>{x}</x{number}><y{number}>{y}</y{number}>" for number, (x, y) in enumerate(SQUARE, 1)
    )
    box = "<bndbox><xmin>2</xmin><xmax>9</xmax><ymin>3</ymin><ymax>8</ymax></bndbox>"
    return {
        "a.xml": f"""<annotation><folder></folder><filename>a.png</filename><path>a.png</path><source><database>x</database></source>
<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size><segmented>0</segmented>
<object><name>road</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult><occluded>0</occluded>{box}<polygon>{corners}</polygon></object>
<object><name>car</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>{box}</object>
</annotation>""".encode()
    }


def yolo():
    line = " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in SQUARE)
    data = b"path: .\ntrain: images/train\nval: images/val\nnc: 3\nnames:\n  0: background\n  1: road\n  2: car\n"
    return {
        "data.yaml": data,
        "labels/a.txt": f"1 {line}\n2 {line}\n".encode(),
        "labels/day1/b.txt": f"2 {line}\n".encode(),
        "labels/d.txt": b"",
        "train.txt": b"images/a.png\nimages/d.png\n",
    }


def roboflow():
    header = b"Pixel Value, Class\n0, background\n1, road\n2, car\n"
    return {
        "train/_classes.csv": header,
        "train/a.jpg": encoded(photo(), "JPEG"),
        "train/a_mask.png": encoded(classes()),
        "valid/_classes.csv": header,
        "valid/b.jpg": encoded(photo(1), "JPEG"),
        "valid/b_mask.png": encoded(classes()),
        "README.roboflow.txt": b"x\n==\n",
    }


def mask_pictures():
    return {
        "a.png": encoded(colors()),
        "day1/b.png": encoded(palette((1, 0, 2))),
        "d.tif": encoded(classes().astype(np.uint16), "TIFF"),
        "c.gif": encoded(palette(), "GIF"),
    }


def mask_layers():
    return {
        "a_road.png": encoded((classes() == 1).astype(np.uint8) * 255),
        "a_car.png": encoded((classes() == 2).astype(np.uint8)),
        "car/d.png": encoded(Image.fromarray(classes() > 0)),
    }


# What semivl writes itself, or a user by hand

DATASET = b'values = { 0 = 0, 1 = 1, 2 = 2, "#804080" = 1, "Auto" = 2 }\nignore = [254, "#000001", "don\'t care"]\nbackground = 0\n'
DEFINITION = b"""title = "Street"
source = "a guideline"
templates = ["a photo of a {}.", "{}"]

[[class]]
name = "road"
color = "#804080"
guideline = "streets, but not pavements"
concepts = ["road", "street"]

[[class]]
name = "car"
color = [0, 0, 142]
concepts = ["car", "van"]
excludes = ["street"]

[published]
"car" = "auto"
"""
RECIPE = b"""dataset = "folder"
method = "semivl"
seed = 3

[data]
root = "x"
crop = 64
scale_range = [0.5, 2.0]
labels = "1/8"

[training]
steps = 100
batch = 4

[model]
skips = [0, 1]

[guidance]
lambda_DC = [0.1, 0.0]
zeta = 0.9

[optimizer]
lr = 1e-4
"""


def indexed():
    """A root that was prepared, its masks converted."""
    folder = Path(_scratch())
    for name, data in root(masks=()).items():
        path = folder / name.removeprefix("fixed/data/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for name in ("a", "c"):
        path = folder / "masks" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(colors()))
    Folder().prepare(folder, [], CLASSES, False, str)
    files = {
        f"fixed/data/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
    files["prepared/index.jsonl"] = files.pop("fixed/data/prepared/index.jsonl").replace(
        as_json(str(folder))[1:-1], b"@ROOT@"
    )
    header = json.loads(files["prepared/index.jsonl"].split(b"\n")[0])
    header["folders"], header["files"] = {}, {}  # their times are of another folder
    files["prepared/index.jsonl"] = b"\n".join([as_json(header), *files["prepared/index.jsonl"].split(b"\n")[1:]])
    files["prepared/masks/a.png"] = files.pop("fixed/data/prepared/masks/a.png")
    return files


def _scratch():
    import tempfile  # noqa: PLC0415

    return tempfile.mkdtemp(prefix="fuzz-seed-")


def read_indexed(folder):
    data = folder / "fixed" / "data"
    for path in sorted(path for path in (folder / "prepared").rglob("*") if path.is_file()):
        target = data / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes().replace(b"@ROOT@", as_json(str(data))[1:-1]))
    dataset = Folder()
    train, val = list_records(dataset, data)
    dataset.check_masks([*train, *val])
    for record in (*train, *val):
        if isinstance(record.label, Path) and is_file(record.label):
            apart(lambda: dataset.class_ids(read_raw_label(record.label)))  # noqa: B023


def folder_files():
    return root(masks=("a", "day1/b", "c")) | {
        "dataset.toml": DATASET,
        "train.txt": b"a\nday1/b\nd\n",
        "val.txt": b"c\n",
        "masks/a.png": encoded(colors()),
    }


def read_folder(folder):
    data = folder / "fixed" / "data"
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and "fixed" not in path.parts):
        target = data / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    apart(Folder().find_classes, data, (), one_line)
    dataset = Folder()
    apart(dataset.prepare, data, (), CLASSES, False, one_line)
    for line in survey(Folder(), data, NAMES).problems:
        one_line(line)


def read_definition(folder):
    for path in files_in(folder):
        for finding in validate(path.read_bytes(), path.name):
            one_line(str(finding))
        call("concepts", "show", str(path))


def read_recipe(folder):
    for path in files_in(folder):
        call("train", "--print-config", "--recipe", str(path))
        settings, _ = read_settings(path)
        resolve(settings)


def read_words(folder):
    for path in files_in(folder):
        for word in path.read_text(encoding="utf-8", errors="surrogateescape").split("\n"):
            apart(parse_assignments, [word])
            apart(lambda: resolve(parse_assignments([word])))  # noqa: B023
            apart(read_labels, word)


def read_lists(folder):
    for path in files_in(folder):
        apart(read_ids, path)
        apart(open_pool, Hidden(Records.of([], folder), []), [str(path)], [], one_line)


def files_in(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and "fixed" not in path.parts)


class _Raises:
    """Stands for `traceback` in the command line: what would be printed as a bug is raised."""

    @staticmethod
    def print_exc():
        raise sys.exc_info()[1]


def call(*words):
    """Run a command in this process; raises what would be called a bug."""
    from typer.testing import CliRunner  # noqa: PLC0415

    sys.modules["semivl_cli.cli"].traceback = _Raises
    done = CliRunner().invoke(app, list(words))
    if done.exit_code not in (0, 1, 2, 3):
        raise done.exception or AssertionError(f"exit code {done.exit_code}: {done.output[-300:]}")
    if done.exit_code in (2, 3):
        said = [line for line in done.stderr.splitlines() if line.startswith("semivl: ")] or done.stderr.splitlines()[
            -1:
        ]
        if not said:
            raise AssertionError(f"nothing said, exit code {done.exit_code}")
    return done


# Runs, weights, checkpoints


def run_files(name, seal=True):
    """The files of a small run; without `seal` a checkpoint tells no hashes, as the first ones did."""
    files = {
        path.relative_to(RUNS / name).as_posix(): path.read_bytes()
        for path in (RUNS / name).rglob("*")
        if path.is_file() and path.name != "training.safetensors"
    }
    return files if seal else {path: b"{}" if path.endswith("done.json") else data for path, data in files.items()}


def read_run_folder(folder):
    finished = [read_result] if layout.is_finished(folder) else []
    for read in (read_run, layout.read_config, partial(Metrics, step=2), *finished):
        apart(read, folder)
    apart(layout.find_run, folder)
    predictor = load(folder, "cpu")
    predictor.predict(photo())


def read_weights(folder):
    for path in files_in(folder):
        apart(load_clip, "from-weights", str(path))


def tensors():
    data = io.BytesIO()
    state = {"module.backbone.class_embedding": torch.zeros(4), "module.decode_head.conv.weight": torch.zeros(2, 2)}
    torch.save({"model": state, "epoch": 3}, data)
    vectors = io.BytesIO()
    np.save(vectors, np.zeros((21, 512), np.float32))
    return {"best.pth": data.getvalue(), "best.safetensors": save(state, {"a": "b"}), "text.npy": vectors.getvalue()}


def read_tensors(folder):
    for path in files_in(folder):
        apart(checkpoint._translated, path)
        apart(call, "prepare", "checkpoint", str(path), "--dataset", "voc", "--out", str(folder / "run"))
        apart(checkpoint._class_vectors, path, *_settings(), 512, None)


@cache
def _settings():
    from semivl_cli.concepts.load import load_definition  # noqa: PLC0415
    from semivl_cli.config import RunConfig  # noqa: PLC0415

    return RunConfig(), load_definition("voc")


def tar_files():
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as archive:
        for name in ("000/a.jpg", "000/a.json", "b.png", "é.jpg"):
            content = (
                encoded(photo(), "JPEG")
                if name.endswith("jpg")
                else encoded(photo())
                if name.endswith("png")
                else b"{}"
            )
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return {"shard-0.tar": data.getvalue()}


def read_shards(folder):
    pool, _ = open_pool(Hidden(Records.of([], folder), []), [str(folder)], [], one_line)
    for record in pool[:20]:
        assert not isinstance(record.image, TarEntry) or record.image.size >= 0
        apart(read_image, record.image)


def archive_files():
    inside = {
        "VOCdevkit/VOC2012/JPEGImages/a.jpg": encoded(photo(), "JPEG"),
        "VOCdevkit/VOC2012/SegmentationClass/a.png": encoded(palette()),
        "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt": b"a\n",
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in inside.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return {"a.zip": zipped(inside), "b.tar": tar_files()["shard-0.tar"], "c.tar.gz": packed.getvalue()}


def read_archives(folder):
    for path in files_in(folder):
        apart(unpack, path, folder / "fixed" / "out", one_line)
        apart(VOC().prepare, folder / "fixed" / "voc", [path], [], False, one_line)


def kept_records():
    folder = Path(_scratch())
    records = Records.of(list(Folder().records(_written(folder, root()), "train")), folder)
    records.save(folder / "records")
    return {"records": (folder / "records").read_bytes()}


def _written(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder / "fixed" / "data"


def read_records(folder):
    for path in files_in(folder):
        try:
            records = Records.open(path)
        except ValueError:  # what it says of a file that is not whole
            continue
        assert len(records) < 10**9


def coco_root():
    content = json.loads(coco()["annotations/instances_default.json"])
    for image in content["images"]:
        image["file_name"] = f"{image['id']:012}.jpg"
    for annotation in content["annotations"]:
        annotation["category_id"] = 3
    pictures = {
        f"fixed/coco/{split}2017/{number:012}.jpg": encoded(photo(number), "JPEG")
        for number in (1, 2)
        for split in ("train", "val")
    }
    return pictures | {f"annotations/instances_{split}2017.json": as_json(content) for split in ("train", "val")}


def read_coco_root(folder):
    data = folder / "fixed" / "coco"
    if (folder / "annotations").is_dir():
        (folder / "annotations").replace(data / "annotations")
    dataset = COCO()
    dataset.prepare(data, [], [], False, one_line)
    list_records(dataset, data)


READERS = (
    *annotations("COCO", coco),
    *annotations("COCO panoptic", panoptic),
    *annotations("labelme", labelme),
    *annotations("X-AnyLabeling", x_anylabeling),
    *annotations("Label Studio", label_studio),
    *annotations("Label Studio JSON-MIN", label_studio_min),
    *annotations("Label Studio bitmasks", label_studio_pictures),
    *annotations("VIA", via),
    *annotations("Supervisely", supervisely),
    *annotations("Cityscapes JSON", cityscapes_json),
    *annotations("Datumaro JSON", datumaro),
    *annotations("CVAT masks", cvat_masks),
    *annotations("CVAT XML", cvat_xml),
    *annotations("VOC", voc),
    *annotations("VOC XML", voc_xml),
    *annotations("YOLO", yolo),
    *annotations("Roboflow", roboflow),
    *annotations("masks", mask_pictures),
    *annotations("masks a class", mask_layers),
    Reader(name="pictures", files=pictures, read=read_pictures),
    Reader(name="the index", files=indexed, read=read_indexed),
    Reader(name="folder dataset", files=folder_files, read=read_folder),
    Reader(name="definitions", files=lambda: {"my.toml": DEFINITION}, read=read_definition),
    Reader(name="recipes", files=lambda: {"r.toml": RECIPE}, read=read_recipe),
    Reader(
        name="options",
        files=lambda: {
            "words.txt": b"training.steps=3\ndata.crop=64\n1/8\n0.1\n92\nall\nguidance.lambda_DC=[0.1,0.0]\nx.y={a=1}\n"
        },
        read=read_words,
    ),
    Reader(
        name="lists",
        files=lambda: {"a.txt": b"a\nday1/b\n", "b.txt": b"images/*.png\n/x/{000..002}.tar\n"},
        read=read_lists,
    ),
    Reader(name="a run", files=partial(run_files, "folder"), read=read_run_folder),
    Reader(name="a run without hashes", files=partial(run_files, "shapes", False), read=read_run_folder),
    Reader(
        name="CLIP weights",
        files=lambda: {
            "clip.safetensors": (Path(__file__).parents[2] / "plugins/shapes/clip.safetensors").read_bytes()
        },
        read=read_weights,
    ),
    Reader(name="published checkpoints", files=tensors, read=read_tensors),
    Reader(name="tar shards", files=tar_files, read=read_shards),
    Reader(name="archives of benchmarks", files=archive_files, read=read_archives),
    Reader(name="kept records", files=kept_records, read=read_records),
    Reader(name="COCO 2017", files=coco_root, read=read_coco_root),
)
