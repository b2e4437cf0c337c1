import numpy as np
import pytest

from semivl_cli.errors import InputError


def test_a_label_that_is_no_class_names_the_classes_and_what_to_say(shop):
    content = shop.coco(categories=[{"id": 3, "name": "Road"}, {"id": 18, "name": "lorry"}])
    with pytest.raises(InputError, match=r"'lorry' is no class; the classes are 0 background, 1 road, 2 traffic light"):
        shop.prepare(shop.json("c.json", content))
    (shop.root / "dataset.toml").write_text('values = { lorry = 1 }\nignore = ["ROAD"]\nbackground = 2\n')
    shop.prepare(shop.root / "c.json")
    assert sorted(np.unique(shop.ids()["a"])) == [1, 2, 255]


def test_colors_of_dataset_toml_count_beside_those_of_the_definition(shop, boxes):
    for name in ("a", "c"):
        shop.mask(f"{name}.png", np.array([(0, 0, 0), (9, 9, 9), (250, 170, 30)], np.uint8)[boxes])
    (shop.root / "dataset.toml").write_text('values = { "#090909" = 1 }\nignore = ["#FAAA1E"]')
    shop.prepare()
    assert (shop.ids()["a"] == np.array([0, 1, 255])[boxes]).all()


def test_accents_of_a_label_may_be_composed_otherwise_than_those_of_its_class(shop, boxes):
    classes = (("background", (0, 0, 0)), ("Gebäude", (128, 64, 128)), ("Bäume", (250, 170, 30)))
    names = ("Geb\u0061\u0308ude", "ba\u0308ume")
    labels = [{"id": number, "name": name} for number, name in zip((3, 18), names, strict=True)]
    shop.prepare(shop.json("c.json", shop.coco(categories=labels)), classes=classes)
    shop.same(boxes, "a", "day1/b")


@pytest.mark.parametrize("label", ["__ignore__", "_ignore_", "Ignore", "VOID", "unlabeled", "Unlabelled"])
def test_a_label_that_says_it_means_nothing_is_ignored_where_it_is_no_class(shop, label):
    content = shop.coco(categories=[{"id": 3, "name": "road"}, {"id": 18, "name": label}])
    shop.prepare(shop.json("c.json", content))
    assert sorted(np.unique(shop.ids()["a"])) == [0, 1, 255]
    assert shop.told(f"{label!r}: ignored, for no class is called so")
    named = (("void", (0, 0, 0)), ("Ignore", (1, 1, 1)), ("unlabeled", (2, 2, 2)), ("unlabelled", (2, 2, 3)))
    shop.prepare(shop.root / "c.json", classes=(*named, ("road", (9, 9, 9))))
    assert not shop.told("no class is called so")


def test_a_label_that_might_be_two_classes_is_refused_unless_it_equals_one(shop, boxes):
    classes = (
        ("background", (0, 0, 0)),
        ("Road", (1, 1, 1)),
        ("traffic light", (2, 2, 2)),
        ("Traffic_Light", (3, 3, 3)),
    )
    with pytest.raises(InputError, match="'traffic_light' may be 'traffic light' or 'Traffic_Light'"):
        shop.prepare(shop.json("c.json", shop.coco()), classes=classes)
    content = shop.coco(categories=[{"id": 3, "name": "Road"}, {"id": 18, "name": "traffic light"}])
    shop.prepare(shop.json("c.json", content), classes=classes)
    assert sorted(np.unique(shop.ids()["a"])) == [0, 1, 2]


def test_a_label_may_be_a_number(shop, boxes):
    content = shop.coco(categories=[{"id": 3, "name": "7"}, {"id": 18, "name": "255"}])
    (shop.root / "dataset.toml").write_text("values = { 7 = 1 }\nignore = [255]\nbackground = 0\n")
    shop.prepare(shop.json("c.json", content))
    assert (shop.ids()["a"] == np.array([0, 1, 255])[boxes]).all()


def test_a_color_that_two_classes_have_is_refused_where_a_mask_shows_it(shop, boxes):
    classes = (("background", (0, 0, 0)), ("road", (128, 64, 128)), ("traffic light", (128, 64, 128)))
    for name in ("a", "c"):
        shop.mask(f"{name}.png", np.array([(0, 0, 0), (128, 64, 128)], np.uint8)[(boxes == 1).astype(int)])
    problem = shop.prepare(classes=classes).problems["masks that cannot be converted"][0]
    assert "the colour #804080 is that of 'road' and 'traffic light': give them different colours" in problem
    (shop.root / "dataset.toml").write_text('values = { "#804080" = 1 }')
    shop.prepare(classes=classes)
    shop.same(boxes == 1, "a", "c")
