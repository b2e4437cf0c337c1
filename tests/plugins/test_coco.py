import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semivl_plugins.coco import COCO, masks
from semivl_plugins.coco.instances import Instances
from semivl_plugins.coco.masks import CLASS_OF, Annotation, paint_annotations, write_masks

from semivl_cli.concepts.load import load_definition
from semivl_cli.data.ids import read_ids
from semivl_cli.data.read.images import read_label
from semivl_cli.documents import parse_json
from semivl_cli.errors import InputError, RunError

DEFINITION = load_definition("coco")
CLASSES = list(zip(DEFINITION.names, DEFINITION.colors, strict=True))
COLORS = [color for _, color in CLASSES]
VAL = read_ids(Path(masks.__file__).parent / "splits" / "val.txt")[0]


def box(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def annotation(number, image, category, segmentation, area, crowd=0):
    return {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, "area": area,
            "iscrowd": crowd, "bbox": [0, 0, 1, 1]}  # fmt: skip


def instances(images, annotations):
    """The form of the published files, small."""
    return {
        "info": {"description": "COCO 2017 Dataset", "nested": [{"annotations": [1, "]}"]}]},
        "licenses": [{"url": "http://x", "id": 1}],
        "images": [{"license": 1, "file_name": f"{n:012d}.jpg", "height": 6, "width": 8, "id": n} for n in images],
        "annotations": annotations,
        "categories": [{"supercategory": "s", "id": n, "name": "n"} for n in CLASS_OF],
    }


CROWD = {"counts": [0, 48], "size": [6, 8]}
TABLE = annotation(1, 9, 67, box(0, 0, 8, 4), 32.0)
CUP = annotation(2, 9, 47, box(2, 1, 4, 3), 4.0)
PEOPLE = annotation(3, 9, 1, CROWD, 48.0, 1)


def tree(root: Path, layout: str = "", count: int = 3) -> Path:
    """Images and instance files: image 9 has objects, the others have none."""
    val = int(VAL)
    for split, numbers in (("train", [9, *range(10, 8 + count)]), ("val", [val])):
        folder = root / layout / f"{split}2017"
        folder.mkdir(parents=True)
        for number in numbers:
            Image.new("RGB", (8, 6)).save(folder / f"{number:012d}.jpg")
        (root / "annotations").mkdir(exist_ok=True)
        found = [CUP, TABLE, PEOPLE] if split == "train" else [annotation(4, val, 90, box(0, 0, 1, 6), 6.0)]
        (root / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(instances(numbers, found)))
    return root


def prepare(root, sources=(), download=False):
    lines = []
    COCO().prepare(root, sources, CLASSES, download, lines.append)
    return lines


def test_categories_become_classes_in_their_order(test_data):
    assert len(CLASS_OF) == 80
    assert [CLASS_OF[n] for n in (1, 11, 13, 90)] == [1, 11, 12, 80]
    names = DEFINITION.names
    assert [names[CLASS_OF[n]] for n in (1, 13, 44, 67, 90)] == [
        "person", "stop sign", "bottle", "dining table", "toothbrush"]  # fmt: skip
    published = test_data.parent / "classes" / "coco.json"
    if published.is_file():
        assert {row["category_id"]: row["index"] for row in json.loads(published.read_text())[1:]} == CLASS_OF


@pytest.mark.parametrize("layout", ["", "images"])
def test_instances_become_masks_of_81_classes(tmp_path, layout):
    lines = prepare(tree(tmp_path, layout))
    assert [line for line in lines if "written" in line] == [
        f"2 masks of instances_train2017.json written to {tmp_path}/masks, 0 were there",
        f"1 masks of instances_val2017.json written to {tmp_path}/masks, 0 were there",
    ]
    dataset = COCO()
    train, val = (list(dataset.records(tmp_path, split)) for split in ("train", "val"))
    assert [record.id for record in train] == ["000000000009", "000000000010"]
    expected = np.ones((6, 8), np.uint8)  # the crowd of people gives way to what lies before it
    expected[:4], expected[1:3, 2:4] = CLASS_OF[67], CLASS_OF[47]
    assert np.array_equal(read_label(train[0], dataset, DEFINITION.names), expected)
    assert not read_label(train[1], dataset, DEFINITION.names).any()  # nothing is background
    assert read_label(val[0], dataset, DEFINITION.names)[:, 0].tolist() == [80] * 6
    assert val[0].image.is_file()
    with Image.open(train[0].label) as mask:
        assert mask.mode == "P"
        assert tuple(mask.getpalette()[3 * 47 : 3 * 47 + 3]) == COLORS[47]
    assert {path.suffix for path in (tmp_path / "masks").iterdir()} == {".png"}


def test_masks_that_are_there_stay_and_the_file_is_not_even_read_when_all_are(tmp_path):
    tree(tmp_path)
    (tmp_path / "masks").mkdir()
    mine = tmp_path / "masks" / "000000000009.png"
    Image.new("L", (8, 6), 7).save(mine)
    assert any(
        "1 masks of instances_train2017.json written" in line and "1 were there" in line for line in prepare(tmp_path)
    )
    with Image.open(mine) as mask:
        assert mask.getpixel((0, 0)) == 7
    for path in (tmp_path / "annotations").iterdir():
        path.write_text("broken")
    assert prepare(tmp_path) == []


def test_many_images_go_to_several_processes_and_come_out_the_same(tmp_path, monkeypatch):
    tree(tmp_path, count=12)
    monkeypatch.setattr(masks, "BATCH", 4)
    monkeypatch.setattr(masks, "usable_cores", lambda: 2)
    assert any("11 masks of instances_train2017.json written" in line for line in prepare(tmp_path))
    many = {path.name: path.read_bytes() for path in (tmp_path / "masks").iterdir()}
    monkeypatch.undo()
    write_masks(tmp_path / "annotations" / "instances_train2017.json", tmp_path / "one", COLORS, lambda line: None)
    one = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert one == {name: content for name, content in many.items() if name in one}
    assert len(one) == 11


SCRIPT = """
import sys
from pathlib import Path
from semivl_plugins.coco import masks

masks.BATCH = 8
masks.usable_cores = lambda: 2
if __name__ == "__main__":
    masks.write_masks(Path(sys.argv[1]), Path(sys.argv[2]), [(0, 0, 0)], print)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_processes_end_with_a_parent_that_is_killed(tmp_path):
    script, file, folder = tmp_path / "script.py", tmp_path / "instances_train2017.json", tmp_path / "masks"
    script.write_text(SCRIPT)
    file.write_text(json.dumps(instances(range(2000), [])))
    process = subprocess.Popen([sys.executable, script, file, folder], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(folder.glob("*.png")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = [path for path in Path("/proc").glob("[0-9]*") if parent_of(path) == process.pid]
    process.kill()
    process.wait()
    while any(parent_of(path) for path in workers):
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.02)
    assert len(list(folder.glob("*.png"))) < 2000
    write_masks(file, folder, COLORS, lambda line: None)  # the next run goes on
    assert len(list(folder.glob("*.png"))) == 2000


def parent_of(path):
    try:
        return int((path / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"category_id": 12}, r"instances_train2017\.json: image 000000000009: annotation 2 has the category 12"),
        ({"segmentation": {"counts": [3], "size": [6, 8]}}, r"image 000000000009: annotation 2: .*does not fill"),
    ],
)
def test_a_broken_annotation_is_named(tmp_path, change, message):
    tree(tmp_path)
    file = tmp_path / "annotations" / "instances_train2017.json"
    file.write_text(json.dumps(instances([9], [{**CUP, **change}])))
    with pytest.raises(InputError, match=message):
        prepare(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"a": ' * 100_000, '{"images": []}',
     '{"images": [], "annotations": [{}]}', '{"images": [1], "annotations": []}',
     '{"images": [{"id": 1, "file_name": "a", "height": 0, "width": 1}], "annotations": []}',
     '{"images": [], "annotations": [{"image_id": 1}', '{"images" []}', '{"images": [{"id": 1}], "annotations": []}',
     '{"images": [], "annotations": [{"image_id": [1]}]}',
     '{"images": [{"id": [1], "file_name": "a", "height": 1, "width": 1}], "annotations": []}',
     '{"images": [{"id": 1, "file_name": "a", "height": -1, "width": 1}], "annotations": []}',
     '{"images": [{"id": 1, "file_name": "a", "height": 50000, "width": 50000}], "annotations": []}'],
)  # fmt: skip
def test_a_file_that_is_no_instances_is_told_in_one_line(tmp_path, text):
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"x\.json: expected COCO's instances as JSON \(\w+: .+\)") as caught:
        Instances(file)
    assert "\n" not in str(caught.value)


def test_a_size_that_no_memory_holds_is_refused_before_it_is_painted(tmp_path):
    file = tmp_path / "x.json"
    file.write_text('{"images": [{"id": 1, "file_name": "a", "height": 1000000, "width": 1000000}], "annotations": []}')
    with pytest.raises(InputError, match=r"x\.json: .*a: 1000000 x 1000000 pixels .* set SEMIVL_MAX_MEGAPIXELS higher"):
        Instances(file)


def test_instances_are_read_whatever_the_order_and_the_spaces(tmp_path):
    content = instances([9, 10], [CUP, PEOPLE])
    for number, (order, indent) in enumerate([(1, None), (-1, None), (1, 2), (-1, 1)]):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(dict(list(content.items())[::order]), indent=indent))
        read = Instances(file)
        assert read.images == [("000000000009", (6, 8)), ("000000000010", (6, 8))]
        assert [[json.loads(text) for text in read.annotations(n)] for n in (0, 1)] == [[CUP, PEOPLE], []]


def test_a_full_disk_keeps_the_masks_that_are_written(tmp_path, monkeypatch):
    tree(tmp_path)

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(RunError, match="the disk is full; the masks that are written stay"):
        prepare(tmp_path)


def test_the_users_archives_are_taken(tmp_path):
    tree(tmp_path / "made")
    for name in ("train2017", "val2017", "annotations"):
        archive = tmp_path / {"annotations": "annotations_trainval2017.zip"}.get(name, f"{name}.zip")
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted((tmp_path / "made" / name).iterdir()):
                file.write(path, f"{name}/{path.name}")
    prepare(tmp_path / "root", [tmp_path])
    assert len(list((tmp_path / "root" / "masks").glob("*.png"))) == 3


def test_without_masks_another_place_is_told(tmp_path):
    (tmp_path / "train2017").mkdir()
    with pytest.raises(InputError, match=r"expected COCO there, .*prepare data coco` makes masks/ from annotations/"):
        list(COCO().records(tmp_path, "train"))


SQUARE = [2, 2, 6, 2, 6, 6, 2, 6]


def drawn(segmentation, category=1, **more):
    return {"id": 7, "image_id": 3, "category_id": category, "segmentation": segmentation, **more}


def paint(*annotations):
    typed = [parse_json(json.dumps(one), Annotation, "annotation") for one in annotations]
    return paint_annotations(typed, (8, 10), "image 3")


def filled(left, top, right, bottom):
    inside = np.zeros((8, 10), bool)
    inside[top:bottom, left:right] = True
    return inside


def test_several_polygons_of_an_annotation_are_one_region():
    apart = [[0, 0, 3, 0, 3, 3, 0, 3], [6, 4, 9, 4, 9, 8, 6, 8]]
    assert (paint(drawn(apart)).ids == (filled(0, 0, 3, 3) | filled(6, 4, 9, 8))).all()


def test_the_one_of_smaller_area_wins_and_the_larger_gives_way_in_whatever_order():
    table, cup = drawn([SQUARE], 1, area=16), drawn([[3, 3, 5, 3, 5, 5, 3, 5]], 2, area=4)
    expected = filled(2, 2, 6, 6) + filled(3, 3, 5, 5).astype(int)
    for order in ((table, cup), (cup, table)):
        canvas = paint(*order)
        assert (canvas.ids == expected).all()
        assert (canvas.contested, canvas.uncovered) == (4, 80 - 16)


def test_of_equal_ones_the_later_wins_and_one_class_is_no_contest():
    first, second = drawn([SQUARE], 1), drawn([SQUARE], 2)
    assert paint(first, second).ids[3, 3] == 2
    assert paint(second, first).ids[3, 3] == 1
    assert paint(first, first).contested == 0


def test_a_crowd_gives_way_to_every_single_object():
    crowd = drawn({"size": [8, 10], "counts": [8, 8, 64]}, 2, iscrowd=1, area=8)
    whole = drawn([[0, 0, 10, 0, 10, 8, 0, 8]], 1, area=80)
    assert (paint(whole, crowd).ids == 1).all()
    assert paint(crowd).ids.sum() == 2 * 8


def test_what_is_thinner_than_a_pixel_is_left_out_as_in_the_published_masks():
    assert (paint(drawn([SQUARE, [8, 1.1, 9, 1.1, 9, 1.2]])).ids == filled(2, 2, 6, 6)).all()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([[1, 1, 5, 1, 5, 5, 7]], "7 numbers: expected pairs"),
        ([[1, 1, 5, 1, 5, 1e9]], "far outside"),
        ({"size": [8, 10], "counts": [3, 50]}, "does not fill"),
        ({"size": [9, 9], "counts": [81]}, "9 x 9 pixels .* the image is 10 x 8"),
    ],
)
def test_a_broken_segmentation_names_its_annotation(segmentation, message):
    with pytest.raises(InputError, match=f"image 3: annotation 7: .*{message}"):
        paint(drawn(segmentation))


def test_an_annotation_that_lacks_something_or_has_an_unknown_category_is_refused():
    with pytest.raises(InputError, match="annotation 7 has the category 12, none of COCO's"):
        paint(drawn([SQUARE], 12))
    with pytest.raises(InputError, match=r"segmentation.polygons\[0\]\[0\]: expected a number, got 'x'"):
        paint(drawn([["x"]]))
