import numpy as np
import pytest
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.data.choose.survey import survey

CLASSES = (("background", (0, 0, 0)), ("road", (128, 64, 128)), ("traffic light", (250, 170, 30)))


def test_masks_are_made_again_when_numbers_or_colors_are_called_otherwise(shop, boxes):
    labels = shop.root.parent / "yolo"
    (labels / "labels").mkdir(parents=True)
    for name in ("a", "c"):
        (labels / f"labels/{name}.txt").write_text("0 " + " ".join(f"{x / 30:.6f} {y / 20:.6f}" for x, y in shop.road))
    for names, expected in (("[road, traffic light]", 1), ("[traffic light, road]", 2)):
        (labels / "data.yaml").write_text(f"names: {names}\n")
        assert shop.prepare(labels).ids()["a"].max() == expected

    masks = shop.root.parent / "voc"
    for name in ("a", "c"):
        shop.mask(f"{name}.png", shop.colored(boxes), folder="../voc/SegmentationClass")
    for road, light in (("128,64,128", "250,170,30"), ("250,170,30", "128,64,128")):
        (masks / "labelmap.txt").write_text(f"background:0,0,0::\nroad:{road}::\ntraffic light:{light}::\n")
        assert (shop.prepare(masks).ids()["a"] == (boxes if road[0] == "1" else np.array([0, 2, 1])[boxes])).all()
    (masks / "labelmap.txt").write_text("background:0,0,0::\nroad:128,64,128::\n")
    problem = shop.prepare(masks).problems["masks that cannot be converted"][0]
    assert "the colour #faaa1e (16 pixels) is no class" in problem


def test_what_was_made_before_does_not_stand_for_what_cannot_be_made_now(shop, boxes):
    for name in ("a", "c"):
        shop.mask(f"{name}.png", shop.colored(boxes))
    assert set(shop.prepare().ids()) == {"a", "c"}
    shop.mask("a.png", shop.colored(boxes) + np.uint8(1))
    assert shop.prepare().problems
    assert [path.name for path in (shop.root / "prepared/masks").iterdir()] == ["c.png"]


def test_masks_for_other_classes_than_are_trained_are_told_apart(shop, boxes):
    for name in ("a", "c"):
        shop.mask(f"{name}.png", shop.colored(boxes))
    shop.prepare()
    folder = Folder()
    list(folder.records(shop.root, "train"))
    assert folder.made_for == ("background", "road", "traffic light")


def test_drawings_without_image_and_broken_ones_are_problems_by_name_and_the_rest_is_made(shop, boxes):
    content = shop.coco()
    content["images"][1]["file_name"] = "day2/b.jpg"
    content["images"][2]["width"] = 31
    content["annotations"].append({"id": 9, "image_id": 9, "category_id": 3, "segmentation": [shop.flat(shop.road)]})
    shop.image("d")
    content["images"].append({"id": 10, "file_name": "d.jpg"})
    content["annotations"].append(
        {"id": 10, "image_id": 10, "category_id": 3, "segmentation": {"size": [9, 9], "counts": [81]}}
    )
    shop.prepare(shop.json("c.json", content))
    (unmatched,) = shop.problems["masks that cannot be matched with an image"]
    assert "day2/b.jpg: no such image" in unmatched
    named = {record.id: record.image for record in Folder().records(shop.root, "train")}
    assert not named["day2/b"].exists()  # so that a training refuses, too
    wrong_size, broken = shop.problems["masks that cannot be converted"]
    assert "the mask is 31 x 20 pixels (width x height), its image as shown is 30 x 20" in wrong_size
    assert "image 10: annotation 10: " in broken
    assert (np.array(Image.open(shop.root / "prepared/masks/a.png")) == boxes).all()


def test_what_was_taken_in_once_is_taken_in_again(shop, boxes):
    first, second = shop.json("first.json", shop.coco()), shop.json("second.json", shop.coco())
    shop.prepare(first)
    made = (shop.root / "prepared/masks/a.png").stat().st_mtime_ns
    shop.prepare()
    shop.same(boxes, "a", "day1/b")
    assert shop.told("first.json: taken in as before")
    assert shop.told("0 masks written, 2 are there already")
    assert (shop.root / "prepared/masks/a.png").stat().st_mtime_ns == made
    shop.prepare(second)
    assert shop.told("first.json is not taken in any more")
    second.unlink()
    shop.mask("a.png", boxes)
    shop.mask("c.png", boxes)
    shop.prepare()
    assert shop.told("second.json: gone, so its masks and images do not count")
    shop.same(boxes, "a", "c")


def test_overlaps_are_told(shop):
    content = shop.coco()
    content["annotations"][1]["segmentation"] = [shop.flat(shop.road)]
    shop.prepare(shop.json("c.json", content))
    assert shop.told("shapes of two classes overlap in 1 images", "100 pixels", "the smaller one lies on top")


def annotated(shop, *shapes):
    """COCO in which every image has the annotations `shapes`."""
    return shop.coco(
        annotations=[
            {"id": 10 * image + number, "image_id": image, "category_id": 3, "iscrowd": 0, "area": 5, **shape}
            for image in (7, 8, 9)
            for number, shape in enumerate(shapes)
        ]
    )


def test_an_image_that_is_drawn_on_and_shows_nothing_is_refused(shop):
    outside = {"segmentation": [[40, 5, 50, 5, 50, 15]]}
    shop.prepare(shop.json("c.json", annotated(shop, outside, outside)))
    problem = shop.problems["masks that cannot be converted"][0]
    assert "2 things are drawn on a.jpg, and nothing of that has an area inside it" in problem
    assert not (shop.root / "prepared/masks/a.png").exists()


def test_boxes_in_one_file_and_regions_in_another_are_fine(shop, boxes):
    bare = shop.json("boxes.json", annotated(shop, {"bbox": [1, 1, 5, 5], "segmentation": []}))
    shop.prepare(bare, shop.json("c.json", annotated(shop, {"segmentation": [shop.flat(shop.road)]})))
    shop.same(boxes == 1, "a", "day1/b", "c")


def test_an_empty_drawing_is_background_or_no_mask(shop, boxes):
    labels = shop.root / "yolo"
    (labels / "labels").mkdir(parents=True)
    (labels / "data.yaml").write_text("names: [road]")
    ring = " ".join(f"{x / 30} {y / 20}" for x, y in shop.road)
    for name, text in (("a", ""), ("c", f"0 {ring}"), ("day1/b", f"0 {ring}")):
        (labels / f"labels/{name}.txt").parent.mkdir(exist_ok=True)
        (labels / f"labels/{name}.txt").write_text(text)
    assert (shop.prepare(labels).ids()["a"] == 0).all()
    shop.prepare(labels, classes=(("road", (128, 64, 128)),))
    assert set(shop.ids()) == {"c", "day1/b"}
    assert shop.told("nothing is drawn on 1 images, and no class is the background: they have no mask")
    assert not (shop.root / "prepared/masks/a.png").exists()


def test_consequences_of_a_problem_are_none_of_their_own(shop, look):
    content = annotated(shop, {"segmentation": [shop.flat(shop.road)]})
    content["images"][0]["file_name"] = "lost.jpg"
    problems, _ = look(shop, content)
    assert [line.partition(":")[0] for line in problems] == ["masks that cannot be matched with an image"]
    content = annotated(shop, {"segmentation": [[40, 5, 50, 5, 50, 15]]})
    problems, _ = look(shop, content)
    assert [line.partition(":")[0] for line in problems] == ["masks that cannot be converted"]


def test_an_image_that_cannot_be_read_is_one_problem(shop, look):
    (shop.root / "images/a.jpg").write_bytes(b"404")
    content = annotated(shop, {"segmentation": [shop.flat(shop.road)]})
    problems, _ = look(shop, content)
    assert problems == (f"images that cannot be read: {shop.root}/images/a.jpg: not an image that can be read",)


@pytest.fixture
def look():
    """Prepares COCO, and looks at all files as the command does; returns problems and notes."""

    def run(shop, content):
        folder = Folder()
        folder.prepare(shop.root, [shop.json("c.json", content)], CLASSES, False, shop.lines.append)
        found = survey(folder, shop.root, [name for name, _ in CLASSES])
        return found.problems, found.notes

    return run
