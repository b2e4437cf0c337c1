"""What becomes of pictures: one that cannot be done costs none else, and a disk that is full ends it."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

from semivl_cli.concepts.load import parse_definition
from semivl_cli.engine.infer import predict as prediction_module
from semivl_cli.engine.infer.plan import plan_predictions
from semivl_cli.engine.infer.predict import predict
from semivl_cli.engine.infer.segmenter import Segmenter
from semivl_cli.errors import InputError, RunError
from semivl_cli.palette import is_ours
from semivl_cli.reporter import Silence
from semivl_cli.settings_toml import resolve

WORDS = 'title = "T"\n[[class]]\nname = "dark"\ncolor = "#000000"\n[[class]]\nname = "bright"\ncolor = "#ff0000"\n'


class Threshold(Segmenter):
    """Calls bright what is bright."""

    def classes_of(self, image):
        return (image[..., 0] > 127).astype(np.uint8)


@pytest.fixture
def segmenter():
    return Threshold(definition=parse_definition(WORDS, "words"), config=resolve({}), device=torch.device("cpu"))


def picture(path, width=8, height=6):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, width // 2 :] = 255
    Image.fromarray(pixels).save(path)
    return path


def predicted(segmenter, given, out, *, overlays=False):
    plan = plan_predictions([given], out, overlays=overlays)
    return {one.image.name: one for one in predict(segmenter, plan, overlays=overlays, reporter=Silence())}


def test_masks_and_overlays_are_written_each_in_its_folder(segmenter, tmp_path):
    picture(tmp_path / "in" / "sub" / "a.jpg")
    one = predicted(segmenter, tmp_path / "in", tmp_path / "out", overlays=True)["a.jpg"]
    assert one.mask == tmp_path / "out" / "sub" / "a.png"
    assert one.overlay == tmp_path / "out" / "overlays" / "sub" / "a.jpg"
    assert one.shares == {"dark": 0.5, "bright": 0.5} and one.error is None
    with Image.open(one.mask) as mask, Image.open(one.overlay) as overlay:
        assert mask.size == overlay.size == (8, 6)
    assert is_ours(one.mask) and is_ours(one.overlay)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file()) == ["a.jpg", "a.png"]


def test_what_is_given_and_cannot_be_read_comes_first_with_its_error(segmenter, tmp_path):
    picture(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "link.png").symlink_to("nothing.png")
    found = predicted(segmenter, tmp_path / "in", tmp_path / "out")
    assert list(found) == ["link.png", "a.png"]
    assert "broken link" in found["link.png"].error and found["link.png"].mask is None
    assert found["a.png"].error is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("std::bad_alloc"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        np._core._exceptions._ArrayMemoryError((10**6, 10**6), np.dtype(float)),
    ],
)
def test_a_picture_for_which_memory_does_not_suffice_costs_no_other(segmenter, tmp_path, monkeypatch, error):
    def fails(self, image):
        if image.shape[1] == 13:
            raise error
        return np.zeros(image.shape[:2], np.uint8)

    monkeypatch.setattr(Threshold, "classes_of", fails)
    for name, width in (("a", 8), ("b", 13), ("c", 8)):
        picture(tmp_path / "in" / f"{name}.png", width)
    found = predicted(segmenter, tmp_path / "in", tmp_path / "out")
    assert [one.mask is None for one in found.values()] == [False, True, False]
    assert found["b.png"].error.startswith(f"{tmp_path / 'in' / 'b.png'}: there is not enough memory for it")


def test_another_fault_of_the_model_is_no_fault_of_the_picture(segmenter, tmp_path, monkeypatch):
    monkeypatch.setattr(Threshold, "classes_of", lambda self, image: 1 / 0)
    picture(tmp_path / "a.png")
    with pytest.raises(ZeroDivisionError):
        predicted(segmenter, tmp_path / "a.png", tmp_path / "out")


def test_what_would_need_more_memory_than_is_free_is_not_begun(segmenter, tmp_path, monkeypatch):
    picture(tmp_path / "in" / "large.png", 400, 300)
    picture(tmp_path / "in" / "small.png")
    monkeypatch.setattr(prediction_module, "_MUCH", 0)
    monkeypatch.setattr(prediction_module, "free_memory", lambda: 100_000)
    found = predicted(segmenter, tmp_path / "in", tmp_path / "out")
    assert "400 x 300 pixels (width x height) take 0.0 GiB of memory, 0.0 are free" in found["large.png"].error
    assert found["small.png"].mask is not None
    monkeypatch.setattr(prediction_module, "free_memory", lambda: None)  # where nobody knows
    assert predicted(segmenter, tmp_path / "in" / "large.png", tmp_path / "again")["large.png"].mask is not None


def test_a_name_that_is_too_long_for_its_mask_costs_no_other(segmenter, tmp_path):
    names = ["a.png", f"{'l' * 250}.jpg", f"{'l' * 250}.png", f"{'m' * 251}.png"]
    for name in names:
        picture(tmp_path / "in" / name)
    found = predicted(segmenter, tmp_path / "in", tmp_path / "out", overlays=True)
    assert [found[name].error is None for name in names] == [True, False, False, True]
    assert found[names[1]].error.startswith("cannot write ") and "too long" in found[names[1]].error
    assert len(os.fsencode(found[names[3]].mask.name)) == 255


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_nothing_more_ends_it(segmenter, tmp_path, monkeypatch, number):
    def full(path, *_):
        if path.stem == "b":
            raise OSError(number, os.strerror(number))
        path.touch()

    monkeypatch.setattr(prediction_module, "save_mask", full)
    for name in "abc":
        picture(tmp_path / "in" / f"{name}.png")
    with pytest.raises(RunError, match=r"cannot write .*b\.png: .*; the masks before it are kept"):
        predicted(segmenter, tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "a.png").exists()


def test_a_mask_without_its_overlay_is_told(segmenter, tmp_path, monkeypatch):
    def fails(*_):
        raise MemoryError

    monkeypatch.setattr(prediction_module, "overlay", fails)
    picture(tmp_path / "a.png")
    one = predicted(segmenter, tmp_path / "a.png", tmp_path / "out", overlays=True)["a.png"]
    assert one.mask is not None and one.overlay is None and "not enough memory" in one.error


def test_an_overlay_of_a_picture_longer_than_a_jpeg_can_be_is_smaller(segmenter, tmp_path):
    picture(tmp_path / "ribbon.png", 2, 70_000)
    one = predicted(segmenter, tmp_path / "ribbon.png", tmp_path / "out", overlays=True)["ribbon.png"]
    with Image.open(one.mask) as mask, Image.open(one.overlay) as overlay:
        assert mask.size == (2, 70_000) and overlay.size == (1, 35_000)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1)])
def test_pictures_of_a_pixel_or_a_line_are_pictures(segmenter, tmp_path, size):
    picture(tmp_path / "a.png", *size)
    one = predicted(segmenter, tmp_path / "a.png", tmp_path / "out", overlays=True)["a.png"]
    with Image.open(one.mask) as mask, Image.open(one.overlay) as overlay:
        assert mask.size == overlay.size == size


def test_pages_that_are_not_segmented_are_told(segmenter, tmp_path):
    class Notes(Silence):
        said = ()

        def note(self, message):
            self.said = (*self.said, message)

    pages = [Image.new("RGB", (4, 3))] * 3
    (tmp_path / "in").mkdir()
    for name in ("b.tif", "a.tif"):
        pages[0].save(tmp_path / "in" / name, save_all=True, append_images=pages[1:])
    picture(tmp_path / "in" / "c.png")
    notes = Notes()
    list(predict(segmenter, plan_predictions([tmp_path / "in"], tmp_path / "out"), overlays=False, reporter=notes))
    (said,) = notes.said
    assert f"2 of 3 files hold several pictures, such as {tmp_path / 'in' / 'a.tif'} (3)" in said


def test_large_pictures_go_alone_and_the_order_stays(monkeypatch):
    monkeypatch.setattr(prediction_module, "_LARGE", 10)
    held, most = 0, []
    weights = [3, 3, 50, 3, 4, 4, 4, 60, 70, 1]

    def items():
        nonlocal held
        for number, weight in enumerate(weights):
            held += weight  # from here to where it comes out again
            most.append((weight, held))
            yield number, weight

    with ThreadPoolExecutor(4) as pool:
        found = []
        for number, weight in prediction_module._in_order(pool, lambda item: item, items(), weigh=lambda item: item[1]):
            held -= weight
            found.append(number)
    assert found == list(range(len(weights)))
    assert all(together <= weight + 10 for weight, together in most)


def test_memory_grows_with_the_picture_and_with_the_classes(segmenter):
    assert segmenter.memory((100, 100)) == 100 * 100 * (16 + 4 * 2)
    scaled = Threshold(
        definition=segmenter.definition,
        config=resolve({"evaluation": {"short_side": 50}}),
        device=torch.device("cpu"),
    )
    assert scaled.memory((100, 100)) == 100 * 100 * 16 + 4 * 2 * (50 * 50 + 100 * 100)
    assert scaled.memory((1, 10**6)) < 10**8  # a ribbon is not scaled to a million pixels


def test_an_input_error_that_speaks_of_memory_is_not_mistaken(tmp_path):
    with pytest.raises(InputError, match=r"^out of memory\.png: broken$"), prediction_module.enough_memory(tmp_path):
        raise InputError("out of memory.png: broken")
