import io

import numpy as np
import pytest
from PIL import Image

from semivl_cli.data.read.metadata import without_metadata

RGB = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "RGB"), ("JPEG", "CMYK"), ("JPEG", "L"), ("MPO", "RGB"), ("PNG", "RGB"), ("PNG", "L"), ("PNG", "P")],
)
def test_pixels_and_orientation_are_left_and_nothing_else(kind, mode):
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x112], exif[0x10F] = 6, "a maker"
    more = {"progressive": True, "comment": "a comment"} if kind == "JPEG" else {}
    Image.fromarray(RGB).convert(mode).save(buffer, kind, exif=exif, icc_profile=b"a profile", **more)
    plain = without_metadata(buffer.getvalue())
    with Image.open(buffer) as before, Image.open(io.BytesIO(plain)) as after:
        assert np.array_equal(np.asarray(before), np.asarray(after))
        assert after.getexif()[0x112] == 6
        assert "icc_profile" not in after.info
    assert b"a maker" not in plain or kind == "PNG"
    assert b"a comment" not in plain
    assert without_metadata(plain) == plain


def test_other_files_are_not_touched():
    assert without_metadata(b"II*\0") is None
    for cut in (b"\xff\xd8", b"\xff\xd8\xff\xe1\xff", b"\x89PNG\r\n\x1a\n\0\0"):
        assert without_metadata(cut) is not None
