import numpy as np
import pytest
from PIL import Image

from semivl_cli.data.annotation.format_contract import Given
from semivl_cli.data.annotation.tree import Tree
from semivl_cli.data.formats.roboflow import find_roboflow, open_roboflow
from semivl_cli.errors import InputError

TABLE = "Pixel Value, Class\n0, background\n1, traffic light\n2, road\n"


@pytest.fixture
def export(shop, boxes):
    """As Roboflow lays images and masks side by side, in a folder a split."""
    folder = shop.root.parent / "street.v2i.png-mask-semantic"
    for split, names in (("train", "ac"), ("valid", "b"), ("test", "d")):
        (folder / split).mkdir(parents=True)
        (folder / split / "_classes.csv").write_text(TABLE)
        for name in names:
            stem = f"{name}_jpg.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9"
            (folder / split / f"{stem}.jpg").write_bytes(shop.image(stem).read_bytes())
            Image.fromarray(np.array([0, 2, 1], np.uint8)[boxes]).save(folder / split / f"{stem}_mask.png")
    return folder


def test_masks_beside_images_are_explained_by_the_table_of_their_folder(tmp_path, shop, boxes, export):
    shop.root = tmp_path / "empty"
    shop.prepare(export)
    hashed = "jpg.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9"
    shop.same(boxes, *(f"{export.name}/{name}_{hashed}" for name in ("train/a", "train/c", "valid/b")))
    assert shop.told("Roboflow's masks")
    told = [drawing.split for drawing in open_roboflow(Tree(export)).drawings()]
    assert told == ["test", "train", "train", "val"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("filename, car, bus\na.jpg, 1, 0\n", "expected the columns 'Pixel Value' and 'Class'"),
        ("", "expected the columns"),
        ("Pixel Value, Class\nx, road\n", "expected a pixel value and a class, got 'x, road'"),
        ("Pixel Value, Class\n1\n", "expected a pixel value and a class, got '1'"),
        (f"Pixel Value, Class\n{'9' * 5000}, road\n", "expected a pixel value"),
        ("Pixel Value, Class\n1, road\n1, car\n", "the value 1 is of two classes, 'road' and 'car'"),
    ],
)
def test_a_table_that_does_not_tell_the_values_is_refused(export, table, message):
    (export / "train/_classes.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        open_roboflow(Tree(export))


def test_a_mask_without_a_table_and_a_value_that_none_tells_are_told(shop, export):
    Image.fromarray(np.full((20, 30), 9, np.uint8)).save(next((export / "train").glob("a*_mask.png")))
    [(_, [problem])] = shop.prepare(export).problems.items()
    assert "value 9 (600 pixels) is no class" in problem
    (export / "train/_classes.csv").unlink()
    with pytest.raises(InputError, match=r"no _classes\.csv beside it"):
        open_roboflow(Tree(export))


def test_a_table_of_whole_images_is_no_table_of_values(export):
    assert find_roboflow(Given(Tree(export))) == [Tree(export)]
    for table in export.rglob("_classes.csv"):
        table.write_text("filename, car, bus\na.jpg, 1, 0\n")
    assert find_roboflow(Given(Tree(export))) == []
