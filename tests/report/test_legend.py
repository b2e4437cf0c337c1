"""A legend shows every class once, whatever it is called, and is known again as ours."""

import numpy as np
import pytest
from PIL import Image

from semivl_cli.errors import RunError
from semivl_cli.palette import is_ours
from semivl_cli.report.legend import ROWS, draw_legend, write_legend

COLORS = [(10, 20, 30), (200, 100, 0), (255, 255, 255)]


def test_each_colour_is_there_and_many_classes_stand_in_columns():
    few = draw_legend("Street", list(zip("abc", COLORS, strict=True)))
    for color in COLORS[:2]:
        assert (few == color).all(axis=2).sum() > 150
    many = draw_legend("Street", [(f"class {k}", (k, 0, 255 - k)) for k in range(2 * ROWS + 1)])
    assert all((many == (k, 0, 255 - k)).all(axis=2).sum() > 150 for k in range(2 * ROWS + 1))
    assert many.shape[1] > 2.5 * few.shape[1] / 2 and len(many) < 40 * ROWS


@pytest.mark.parametrize("name", ["x" * 500, "two\nlines", "", "$x$ % \\frac{", "犬と猫", "كلب", "_hidden"])
def test_odd_names_are_one_line(name):
    plain, odd = (draw_legend(f"T {word}", [(word, COLORS[0])]) for word in ("a", name))
    assert abs(len(plain) - len(odd)) < 20 and odd.shape[1] < 700


def test_it_is_written_whole_or_says_why_not(tmp_path):
    classes = list(zip("abc", COLORS, strict=True))
    write_legend(tmp_path / "new" / "legend.png", "Street", classes)
    with Image.open(tmp_path / "new" / "legend.png") as picture:
        assert (np.asarray(picture) == draw_legend("Street", classes)).all()
    assert is_ours(tmp_path / "new" / "legend.png")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write"):
        write_legend(tmp_path / "file" / "legend.png", "Street", classes)
