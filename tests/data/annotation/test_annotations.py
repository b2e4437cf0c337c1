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
