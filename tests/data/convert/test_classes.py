import numpy as np
import pytest
from semivl_plugins.folder import Folder

from semivl_cli.concepts.load import parse_definition
from semivl_cli.concepts.propose import propose_definition
from semivl_cli.errors import InputError


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
    shop.mask("a.png", shop.colored(boxes))
    assert proposed(shop)[1] == [(0, 0, 0), (128, 64, 128), (250, 170, 30)]
    (shop.root / "masks/a.png").unlink()
    labels = shop.json("a.json", {"imagePath": "a.jpg", "shapes": [{"label": 'a "quoted"\tname', "points": shop.road}]})
    assert proposed(shop, labels)[0] == ["background", 'a "quoted"\tname']


def test_what_is_no_class_is_not_proposed(shop):
    (shop.root / "masks").mkdir()
    with pytest.raises(InputError, match="no mask shows any class"):
        proposed(shop)
    shop.mask("a.png", np.arange(600, dtype=np.uint16).reshape(20, 30))
    with pytest.raises(InputError, match="the masks show 599 values or colours, more than classes can be"):
        proposed(shop)
