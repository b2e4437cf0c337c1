"""Pages and frames are counted, smaller copies of a picture are not."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from semivl_cli.data.read.frames import count_frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("frames")


@pytest.mark.parametrize("suffix", [".tif", ".gif", ".webp", ".png"])
@pytest.mark.parametrize("count", [1, 3])
def test_frames_are_counted(folder, suffix, count):
    frames = [Image.new("RGB", (4, 3), (90 * k, 0, 0)) for k in range(count)]
    path = folder / f"{count}{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert count_frames(path) == count


def test_smaller_copies_and_masks_of_a_page_are_no_pages(folder):
    with TiffImagePlugin.AppendingTiffWriter(str(folder / "pyramid.tif"), new=True) as file:
        for size, kind in ((16, 0), (8, 1), (4, 1), (16, 4), (16, 2)):
            Image.new("L", (size, size)).save(file, "TIFF", tiffinfo={254: kind})
            file.newFrame()
    assert count_frames(folder / "pyramid.tif") == 2


def test_a_photograph_with_a_second_picture_for_screens_is_one(folder):
    photographs = [Image.new("RGB", (8, 8)), Image.new("RGB", (4, 4))]
    photographs[0].save(folder / "phone.jpg", "MPO", save_all=True, append_images=photographs[1:])
    assert count_frames(folder / "phone.jpg") == 1


@given(st.data())
def test_damaged_files_are_left_to_whoever_reads_them(folder, data):
    whole = io.BytesIO()
    frames = [Image.new("L", (4, 3), 90 * k) for k in range(3)]
    frames[0].save(whole, "TIFF", save_all=True, append_images=frames[1:])
    broken = bytearray(whole.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    (folder / "damaged.tif").write_bytes(broken[: data.draw(st.integers(0, len(broken)))])
    assert 1 <= count_frames(folder / "damaged.tif") <= 10_000
