import base64
import io
import zlib

import numpy as np
import pytest
from PIL import Image

from semivl_cli.data.annotation.embedded_picture import embedded_region
from semivl_cli.errors import InputError

INSIDE = np.array([[False, True, True], [True, False, True]])


def text(pixels, pack=bytes, **how):
    data = io.BytesIO()
    picture = Image.fromarray(pixels)
    if how:
        picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(data, "PNG", **how)
    return base64.b64encode(pack(data.getvalue())).decode()


@pytest.mark.parametrize(
    "written",
    [
        text(INSIDE),
        text(INSIDE.astype(np.uint8)),
        text(INSIDE.astype(np.uint16)),
        text(np.dstack([np.full((2, 3, 3), 9, np.uint8), INSIDE * np.uint8(255)])),
        text(INSIDE[..., None] * np.array([0, 0, 1], np.uint8)),
        text(INSIDE.astype(np.uint8), pack=zlib.compress, transparency=0),  # as Supervisely writes it
    ],
)
def test_a_region_is_what_is_opaque_or_else_what_is_not_black(written):
    assert (embedded_region(written, (4, 4)) == INSIDE).all()


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("?", "its picture is no base64 text"),
        ("\u00e9", "its picture is no base64 text"),
        ("", "its picture: not an image"),
        (base64.b64encode(b"\x78\x9cno").decode(), "its picture cannot be unpacked"),
        (text(np.zeros((5, 3), np.uint8)), "its picture: 3 x 5 pixels .* more than those of the image, 4 x 4"),
        (text(INSIDE)[:60], "its picture: the image cannot be read"),
        (base64.b64encode(zlib.compress(bytes(2**22))).decode(), "unpacks to more than 1048640 bytes"),
    ],
)
def test_what_is_no_picture_of_a_region_is_one_line(written, message):
    with pytest.raises(InputError, match=message):
        embedded_region(written, (4, 4))
