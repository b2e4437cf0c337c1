"""Scores say what they hold: what the labels do not show has no IoU, and both means stand side by side."""

import json

import numpy as np
import pytest
import torch

from semivl_cli.data.contract import Record
from semivl_cli.engine.infer.measure import Scores, measure_iou
from semivl_cli.engine.infer.windows import Inference
from semivl_cli.reporter import Silence
from semivl_cli.settings_toml import resolve

NAMES = ("road", "car", "tree")
SETTINGS = {"data": {"crop": 8, "workers": 0}, "evaluation": {"short_side": 8, "stride": 8}}


class FirstChannel(torch.nn.Module):
    """Takes the red value of a pixel for its class."""

    text = torch.zeros(3, 1)

    def forward(self, image):
        return 50.0 * torch.nn.functional.one_hot(image[:, 0].long(), 3).permute(0, 3, 1, 2).float()


class Raw:
    """A dataset whose masks hold class ids."""

    def class_ids(self, raw):
        return raw


def records(*pairs):
    """Images whose red value is the prediction, and their labels."""
    for number, (predicted, label) in enumerate(pairs):
        ids, image = np.asarray(label, np.uint8), np.zeros((*np.shape(predicted), 3), np.uint8)
        image[..., 0] = predicted
        yield Record(id=str(number), image=lambda image=image: image, label=lambda ids=ids: ids)


def measured(*pairs):
    how = Inference(resolve(SETTINGS))
    return measure_iou(FirstChannel(), list(records(*pairs)), Raw(), NAMES, how, step=3, reporter=Silence())


def blocks(left, right):
    return np.repeat([[left] * 4 + [right] * 4], 8, axis=0)


def test_a_class_that_the_labels_do_not_show_has_no_iou_and_counts_as_nothing_in_the_published_mean():
    scores = measured((blocks(0, 1), blocks(0, 1)), (blocks(0, 0), blocks(0, 1)))
    road, car = 64 / 96, 32 / 64
    assert scores.iou == {"road": pytest.approx(road), "car": pytest.approx(car), "tree": None}
    assert scores.miou == pytest.approx((road + car) / 3)
    assert scores.miou_present == pytest.approx((road + car) / 2)
    assert scores.pixels == {"road": 64, "car": 64, "tree": 0} and scores.absent == ("tree",)
    assert scores.labeled("car") == 0.5


def test_what_is_wrongly_taken_for_an_absent_class_is_missed_by_its_own():
    scores = measured((blocks(0, 2), blocks(0, 0)))
    assert scores.iou == {"road": pytest.approx(0.5), "car": None, "tree": None}
    assert scores.miou_present == pytest.approx(0.5) and scores.predicted["tree"] == 0.5


def test_where_all_classes_are_shown_both_means_agree():
    scores = measured((blocks(0, 1), blocks(0, 1)), (blocks(2, 2), blocks(2, 2)))
    assert scores.miou == pytest.approx(scores.miou_present) == pytest.approx(1) and not scores.absent


def test_labels_without_any_class_have_no_mean_of_their_own():
    scores = measured((blocks(0, 1), blocks(255, 255)))
    assert scores.miou == 0 and scores.miou_present is None and scores.absent == NAMES
    assert scores.labeled("road") == 0


def test_scores_survive_their_file():
    scores = measured((blocks(0, 1), blocks(0, 0)))
    again = Scores.of(json.loads(json.dumps(scores.as_dict())))
    assert again.as_dict() == scores.as_dict() and again.absent == ("car", "tree")


def test_scores_of_an_earlier_version_still_load():
    old = Scores.of({"miou": 0.25, "iou": {"road": 0.5, "car": 0.0}, "step": 9, "images": 4, "on": "val"})
    assert (old.miou, old.miou_present, old.pixels, old.absent) == (0.25, None, {}, ())


@pytest.mark.parametrize(
    ("images", "said"), [(1, "one image is all"), (4, "4 images are all"), (5, None), (1449, None)]
)
def test_few_images_are_said_to_mean_little(images, said):
    caution = Scores(miou=0.5, iou={"road": 0.5}, step=9, images=images).caution
    assert caution is None if said is None else said in caution


def test_images_without_any_label_give_numbers_that_mean_nothing():
    nothing = Scores(miou=0.0, iou={"road": None}, pixels={"road": 0}, step=9, images=100)
    assert nothing.caution is not None and "no pixel of the images that were scored is labelled" in nothing.caution
