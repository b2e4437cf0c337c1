import numpy as np
import pytest
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.data.annotation.palettes import palette_of, used_colors
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.errors import InputError

COLORS = ((0, 0, 0), (128, 64, 128), (250, 170, 30))


def palette_mask(shop, name, ids, colors, suffix="png", folder="masks"):
    """Write indices whose palette shows `colors`."""
    picture = Image.fromarray(ids.astype(np.uint8))
    picture.putpalette(bytes(part for color in colors for part in color))
    path = shop.root / folder / f"{name}.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, **({"optimize": False} if suffix == "gif" else {}))
    return path


def test_indices_count_where_the_palette_shows_the_classes_or_none_of_them(shop, boxes):
    for colors in (COLORS, ((1, 1, 1), (2, 2, 2), (3, 3, 3)), ((9, 9, 9), (0, 0, 0), (7, 7, 7)), ((0, 0, 0),) * 3):
        for name in ("a", "c"):
            palette_mask(shop, name, boxes, colors)
        shop.prepare()
        shop.same(boxes, "a", "c")
        assert not (shop.root / "prepared/masks").exists()


def test_colors_count_where_they_are_those_of_the_classes_in_another_order(shop, boxes):
    order = (2, 0, 1)
    for name in ("a", "c"):
        palette_mask(shop, name, np.array([1, 2, 0])[boxes], [COLORS[number] for number in order])
    shop.prepare()
    shop.same(boxes, "a", "c")
    assert shop.told("their palettes show the colours of the classes, or greys of class ids, in another order")
    shop.prepare()
    assert shop.told("0 masks written, 2 are there already")


@pytest.mark.parametrize("given", [False, True])
def test_greys_count_where_grey_masks_were_packed_with_a_palette_of_what_is_in_them(shop, boxes, given):
    folder = "../masks" if given else "masks"
    ids = np.array([0, 2, 255])[boxes]
    palette_mask(shop, "a", boxes, [(0, 0, 0), (2, 2, 2), (255, 255, 255)], folder=folder)
    palette_mask(shop, "c", boxes, [(0, 0, 0), (2, 2, 2), (255, 255, 255)], folder=folder)
    shop.prepare(*([shop.root.parent / "masks"] if given else []))
    shop.same(ids, "a", "c")


def test_indices_count_of_black_and_white_masks_and_where_white_is_beside_colors(shop, boxes):
    few = (boxes > 0).astype(np.uint8)
    for ids, colors in ((few, [(0, 0, 0), (255, 255, 255)]), (boxes, [*COLORS[:2], (255, 255, 255)])):
        for name in ("a", "c"):
            palette_mask(shop, name, ids, colors)
        shop.prepare()
        shop.same(ids, "a", "c")


@pytest.mark.parametrize("given", [False, True])
def test_colors_count_where_each_file_has_its_own_order(shop, boxes, given):
    folder = "../masks" if given else "masks"
    palette_mask(shop, "a", np.array([1, 2, 0])[boxes], [COLORS[2], COLORS[0], COLORS[1]], folder=folder)
    palette_mask(shop, "c", np.array([2, 1, 0])[boxes], [COLORS[2], COLORS[1], COLORS[0]], folder=folder)
    shop.prepare(*([shop.root.parent / "masks"] if given else []))
    shop.same(boxes, "a", "c")


def test_palettes_that_contradict_each_other_are_refused_by_name(shop, boxes):
    first = palette_mask(shop, "a", boxes, [(1, 1, 1), (2, 2, 2), (3, 3, 3)])
    second = palette_mask(shop, "c", boxes, [(1, 1, 1), (3, 3, 3), (2, 2, 2)])
    with pytest.raises(InputError) as caught:
        shop.prepare()
    assert f"the palettes of {first} and {second} differ: index 1 is #020202 in one and #030303" in str(caught.value)


def test_what_is_not_used_does_not_matter(shop, boxes):
    few = (boxes > 0).astype(np.uint8)
    palette_mask(shop, "a", few, [(5, 5, 5), (6, 6, 6), (7, 7, 7)])
    palette_mask(shop, "c", few, [(5, 5, 5), (6, 6, 6), (9, 9, 9)])
    shop.prepare()
    shop.same(few, "a", "c")


def test_classes_are_proposed_from_colors_where_indices_contradict_each_other(shop, boxes):
    for name, order in (("a", (0, 1, 2)), ("c", (0, 2, 1))):
        palette_mask(shop, name, boxes, [COLORS[number] for number in order])
    found = Folder().find_classes(shop.root, (), shop.lines.append)
    assert sorted(color for _, color in found.classes) == sorted(COLORS)


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tif"])
def test_palettes_of_every_format_are_read_from_the_header(shop, boxes, suffix):
    colors = [(10, 20, 30), (40, 50, 60), (70, 80, 90)]
    path = palette_mask(shop, "a", boxes, colors, suffix)
    palette = Tree(path).look(palette_of)
    assert palette[:3].tolist() == [list(color) for color in colors]
    assert used_colors(Tree(path)) == dict(enumerate(colors))
