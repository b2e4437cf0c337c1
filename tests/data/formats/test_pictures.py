"""Masks as they come, the names that they are found by, and the classes that they show."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.concepts.load import parse_definition
from semivl_cli.concepts.propose import propose_definition
from semivl_cli.data.drawing.names import ImageNames
from semivl_cli.errors import InputError

COLORS = np.array([(0, 0, 0), (128, 64, 128), (250, 170, 30)], np.uint8)


def as_ids(ids):
    return Image.fromarray(ids)


def as_palette(ids):
    picture = Image.fromarray(ids)
    picture.putpalette(bytes(range(200, 209)))
    return picture


def as_16_bits(ids):
    return Image.fromarray(ids.astype(np.uint16))


def as_colors(ids):
    return Image.fromarray(COLORS[ids])


def as_opaque_colors(ids):
    return Image.fromarray(np.dstack((COLORS[ids], np.full(ids.shape, 255, np.uint8))))


@pytest.mark.parametrize("form", [as_ids, as_palette, as_16_bits, as_colors, as_opaque_colors])
def test_masks_of_every_form_mean_the_same(shop, boxes, form):
    for name in ("a", "day1/b"):
        (shop.root / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        form(boxes).save(shop.root / "masks" / f"{name}.png")
    shop.prepare()
    found = shop.ids()
    assert set(found) == {"a", "day1/b"}
    assert all((ids == boxes).all() for ids in found.values())
    converted = (shop.root / "prepared/masks").exists()
    assert converted == (form in (as_colors, as_opaque_colors))


def test_large_ids_and_binary_masks_mean_what_dataset_toml_says(shop, boxes):
    for name, raw in (
        ("a", np.array([0, 1000, 60000])[boxes].astype(np.uint16)),
        ("c", (boxes > 0).astype(np.uint8) * 255),
    ):
        shop.mask(f"{name}.png", raw)
    (shop.root / "dataset.toml").write_text("values = { 0 = 0, 1000 = 1, 60000 = 2, 255 = 1 }")
    shop.prepare()
    assert (shop.ids()["a"] == boxes).all()
    assert (shop.ids()["c"] == (boxes > 0)).all()


@pytest.mark.parametrize(
    "names", [("a_{}.png", "c_{}.png"), ("{}_a.png", "{}-c.png"), ("{}/a.png", "{}/c.png"), ("a/{}.png", "c/{}.png")]
)
@pytest.mark.parametrize("there", [1, 255])
def test_one_picture_a_class_becomes_one_mask(shop, boxes, names, there):
    for name in names:
        for number, label in ((1, "road"), (2, "traffic_light")):
            shop.mask(name.format(label), (boxes == number).astype(np.uint8) * there)
    shop.prepare()
    found = shop.ids()
    assert set(found) == {"a", "c"}
    assert all((ids == boxes).all() for ids in found.values())


def test_a_picture_of_no_class_beside_those_of_classes_is_not_the_mask_of_the_whole(shop, boxes):
    for name in ("a", "c"):
        shop.mask(f"road/{name}.png", (boxes == 1).astype(np.uint8) * 255)
    stranger = shop.mask("raod/a.png", (boxes == 2).astype(np.uint8) * 255)
    (problem,) = shop.prepare().problems["masks that cannot be converted"]
    assert problem.startswith(f"{stranger}: other masks of 'a' are of one class each")
    assert "0 background, 1 road, 2 traffic light" in problem
    assert not (shop.root / "prepared/masks/a.png").exists()
    stranger.unlink()
    assert not shop.prepare().problems
    assert (shop.ids()["a"] == (boxes == 1)).all()


def test_what_was_made_before_does_not_stand_for_what_cannot_be_made_now(shop, boxes):
    for name in ("a", "c"):
        shop.mask(f"{name}.png", COLORS[boxes])
    assert set(shop.prepare().ids()) == {"a", "c"}
    shop.mask("a.png", COLORS[boxes] + np.uint8(1))
    assert shop.prepare().problems
    assert [path.name for path in (shop.root / "prepared/masks").iterdir()] == ["c.png"]


def test_a_class_alone_has_one_value_and_overlaps_are_told(shop, boxes):
    shop.mask("a_road.png", np.arange(600, dtype=np.uint16).reshape(20, 30))
    for name in ("c_road.png", "c_traffic light.png", "b_road.png"):
        shop.mask(name, np.ones((20, 30), np.uint8))
    shop.prepare()
    assert (
        "holds 0 and one other value, this one holds 600 values" in shop.problems["masks that cannot be converted"][0]
    )
    assert (np.array(Image.open(shop.root / "prepared/masks/c.png")) == 2).all()
    assert shop.told("shapes of two classes overlap", "the class with the higher id lies on top")


def test_colors_of_dataset_toml_count_beside_those_of_the_definition(shop, boxes):
    for name in ("a", "c"):
        shop.mask(f"{name}.png", np.array([(0, 0, 0), (9, 9, 9), (250, 170, 30)], np.uint8)[boxes])
    (shop.root / "dataset.toml").write_text('values = { "#090909" = 1 }\nignore = ["#FAAA1E"]')
    shop.prepare()
    assert (shop.ids()["a"] == np.array([0, 1, 255])[boxes]).all()


def test_masks_for_other_classes_than_are_trained_are_told_apart(shop, boxes):
    for name in ("a", "c"):
        shop.mask(f"{name}.png", COLORS[boxes])
    shop.prepare()
    folder = Folder()
    list(folder.records(shop.root, "train"))
    assert folder.made_for == ("background", "road", "traffic light")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("7.jpg", ("day1/7",)),
        ("photos/day1/7.jpg", ("day1/7",)),
        ("C:\\photos\\day1\\7.png", ("day1/7",)),
        ("images/8.jpg", ("day1/8", "day2/8")),
        ("day2/8", ("day2/8",)),
        ("day2/7.jpg", ()),
        ("day1/images/8.jpg", ("day1/8",)),
        ("frame.001.jpg", ("frame.001",)),
        ("frame.001", ("frame.001",)),
        ("9.jpg", ("9",)),
        ("day3/9.jpg", ("9",)),
        ("", ()),
        ("nothing.jpg", ()),
    ],
)
def test_a_name_means_the_image_whose_path_it_ends_or_that_ends_it(name, found):
    names = ImageNames()
    names.add(["day1/7", "day1/8", "day2/8", "frame.001", "9"])
    assert names.find(name) == found


@given(
    st.lists(st.text("abc/", min_size=1).filter(lambda name: all(name.split("/"))), unique=True),
    st.text("abc/", max_size=9),
)
def test_every_image_is_found_by_its_own_id(ids, stranger):
    names = ImageNames()
    names.add(ids)
    assert all(names.find(f"{name}.jpg") == (name,) for name in ids)
    assert set(names.find(stranger)) <= set(ids)


def proposed(shop, *sources):
    found = Folder().find_classes(shop.root, sources, shop.lines.append)
    definition = parse_definition(propose_definition("Found", found.classes), "proposal")
    return list(definition.names), list(definition.colors), tuple(found.values)


def test_classes_are_proposed_from_values_colors_and_labels(shop, boxes):
    shop.mask("a.png", boxes)
    assert proposed(shop)[0] == ["class 0", "class 1", "class 2"]
    assert proposed(shop)[2] == ()
    shop.mask("a.png", np.array([7, 26, 255], np.uint8)[boxes])
    assert proposed(shop)[::2] == (["class 7", "class 26"], (7, 26))
    shop.mask("a.png", np.array([0, 255, 255], np.uint8)[boxes])
    assert proposed(shop)[::2] == (["class 0", "class 255"], ())
    shop.mask("a.png", COLORS[boxes])
    assert proposed(shop)[1] == [tuple(color) for color in COLORS.tolist()]
    (shop.root / "masks/a.png").unlink()
    labels = shop.json("a.json", {"imagePath": "a.jpg", "shapes": [{"label": 'a "quoted"\tname', "points": []}]})
    assert proposed(shop, labels)[0] == ["background", 'a "quoted"\tname']


def test_what_is_no_class_is_not_proposed(shop):
    (shop.root / "masks").mkdir()
    with pytest.raises(InputError, match="no mask shows any class"):
        proposed(shop)
    shop.mask("a.png", np.arange(600, dtype=np.uint16).reshape(20, 30))
    with pytest.raises(InputError, match="the masks show 599 values or colours, more than classes can be"):
        proposed(shop)
