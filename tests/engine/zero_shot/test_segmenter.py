"""A definition and a CLIP without a run: every way of segmenting finds the same, which is what guidance says."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from semivl_cli.concepts.load import load_definition
from semivl_cli.concepts.prompts import texts
from semivl_cli.data.registry import open_dataset, package_file
from semivl_cli.engine.zero_shot.recipe import zero_shot_config
from semivl_cli.engine.zero_shot.segmenter import open_segmenter
from semivl_cli.model.pixels import resize
from semivl_cli.reporter import Silence


def test_segmenting_and_predicting_find_the_same_classes(segmenter, scene):
    found = segmenter.segment(scene)
    assert found.ids.shape == found.confidence.shape == found.texts.shape == scene.shape[:2]
    assert (found.ids == segmenter.predict(scene)).all()
    assert len(np.unique(found.ids)) > 1


def test_segmenting_twice_finds_the_same(segmenter, scene):
    first, second = segmenter.segment(scene), segmenter.segment(scene)
    assert (first.ids == second.ids).all() and (first.confidence == second.confidence).all()
    assert (first.texts == second.texts).all()


@pytest.mark.parametrize("aggregate", ["probability", "similarity"])
def test_one_window_is_what_guidance_says(segmenter, aggregate):
    """In an image of a window's size nothing is averaged: the maps are those of training."""
    side = segmenter.config.data.crop
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    guide = copy.copy(segmenter.guide)
    guide.aggregate = aggregate
    found = dataclasses.replace(segmenter, guide=guide).segment(image)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = guide(pixels)
    assert (found.ids == expected.label[0].numpy()).all()
    assert (found.confidence == expected.confidence[0].numpy()).all()
    similarities = resize(guide.similarities(pixels), (side, side))[0].numpy()
    owner = np.array(segmenter.class_of_text)
    for class_id in np.unique(found.ids):
        own, mine = found.ids == class_id, np.flatnonzero(owner == class_id)
        assert (mine[similarities[mine][:, own].argmax(axis=0)] == found.texts[own]).all()


def test_the_winning_text_is_one_of_the_winning_class(segmenter, scene):
    found = segmenter.segment(scene)
    assert (np.array(segmenter.class_of_text)[found.texts] == found.ids).all()
    assert segmenter.texts == texts(load_definition("shapes"), "concepts").texts
    assert found.confidence.min() > 0 and found.confidence.max() <= 1


def test_images_smaller_than_a_patch_are_seen(segmenter):
    found = segmenter.segment(np.zeros((1, 3, 3), dtype=np.uint8))
    assert found.ids.shape == (1, 3)


def test_a_file_of_ones_own_reads_the_same_as_the_plugins(segmenter, scene, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(package_file(open_dataset("shapes"), "clip.safetensors").read_bytes())
    other = open_segmenter(zero_shot_config(definition="shapes", weights=str(copy)), "cpu", Silence())
    assert other.clip_sha256 == segmenter.clip_sha256
    assert (other.predict(scene) == segmenter.predict(scene)).all()


def test_an_image_that_looks_black_by_its_type_is_warned_of(segmenter, scene):
    deep = scene.astype(np.uint16) * 4
    with pytest.warns(UserWarning, match=r"less than a sixteenth .* model\.reading\(\(0, 4095\)\)"):
        segmenter.predict(deep)
    assert (segmenter.reading((0, 1020)).predict(deep) == segmenter.predict(scene)).all()
