import dataclasses
import pickle
from dataclasses import replace

import pytest
import torch

from semivl_cli.data.contract import Record
from semivl_cli.data.read.images import read_image
from semivl_cli.errors import InputError


def test_a_batch_has_the_promised_shapes(index, batches):
    (batch,) = batches(index, 5, 6)
    assert batch.step == 5
    for image in (batch.x_image, batch.u_image, batch.partner_image):
        assert (image.dtype, tuple(image.shape)) == (torch.uint8, (4, 3, 24, 24))
        assert image.is_contiguous()
    for mask in (batch.x_label, batch.u_ignore, batch.partner_ignore):
        assert (mask.dtype, tuple(mask.shape)) == (torch.uint8, (4, 24, 24))
    assert (batch.boxes.dtype, tuple(batch.boxes.shape)) == (torch.int64, (2, 4, 4))
    assert [len(view) for view in batch.colors] == [len(view) for view in batch.partner_colors] == [4, 4]
    assert set(batch.x_label.unique().tolist()) <= {0, 1, 2, 255}


def test_steps_differ_and_a_seed_repeats_them(index, same, batches):
    first, again, other = batches(index), batches(index), batches(index, seed=1)
    assert all(same(one, two) for one, two in zip(first, again, strict=True))
    assert not any(same(one, two) for one, two in zip(first, other, strict=True))
    assert not same(first[0], first[1])


def test_a_run_that_is_resumed_goes_on_as_if_it_had_not_stopped(index, same, batches):
    assert all(same(one, two) for one, two in zip(batches(index, 0, 6)[3:], batches(index, 3, 6), strict=True))


def cut(batch, portion):
    """A portion of the images of a batch, field by field."""
    per_view = {"colors", "partner_colors", "boxes"}
    fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    for name, value in fields.items():
        if name in per_view:
            fields[name] = tuple(view[portion] for view in value) if isinstance(value, tuple) else value[:, portion]
        elif name != "step":
            fields[name] = value[portion]
    return dataclasses.replace(batch, **fields)


def test_the_portion_of_a_process_is_a_part_of_the_whole(index, same, batches):
    whole = batches(index, 2, 4)
    for portion in (slice(0, 1), slice(1, 4)):
        parts = batches(index, 2, 4, rank_slice=portion)
        assert all(same(part, cut(batch, portion)) for part, batch in zip(parts, whole, strict=True))


def test_each_image_comes_once_before_any_comes_again(index, batches):
    shade = {}  # the darkest pixel tells which image a crop is from
    for record in index.unlabeled:
        shade[int(read_image(record.image).min())] = record.id
    assert len(shade) == len(index.unlabeled)
    whole = {"data": {"crop": 64, "scale_range": [1.0, 1.0]}, "augment": {"flip": 0.0}}
    seen = []
    for batch in batches(index, 0, 13, settings=whole):
        for image, ignore in zip(batch.u_image, batch.u_ignore, strict=True):
            seen.append(shade[int(image[:, ignore == 0].min())])
    for epoch in range(4):
        assert len(set(seen[13 * epoch : 13 * epoch + 13])) == 13
    assert seen[:13] != seen[13:26]


def test_few_images_fill_a_large_batch(index, batches):
    few = replace(index, labeled=index.labeled[:1], unlabeled=index.unlabeled[:2])
    (batch,) = batches(few, 0, 1, settings={"training": {"batch": 8}})
    assert batch.x_image.shape[0] == batch.u_image.shape[0] == 8


def test_the_partner_is_another_crop_of_the_same_image(index, batches):
    for batch in batches(index, settings={"data": {"crop": 8, "scale_range": [1.0, 1.0]}}):
        levels = batch.u_image.amin(dim=(1, 2, 3)).int() - batch.partner_image.amin(dim=(1, 2, 3)).int()
        assert levels.abs().max() <= 50  # the gradient within an image
        assert not torch.equal(batch.u_image, batch.partner_image)
        assert batch.colors != batch.partner_colors


def test_a_pair_needs_no_second_crop(index, batches):
    (same_image,) = batches(index, 0, 1)
    (pair,) = batches(index, 0, 1, settings={"augment": {"partner": "pair"}})
    assert pair.partner_image is None
    assert pair.partner_ignore is None
    assert pair.partner_colors is None
    assert torch.equal(pair.u_image, same_image.u_image)


def test_without_need_nothing_unlabelled_is_read(index, batches):
    broken = replace(index, unlabeled=())
    supervised = {"consistency": {"weight": 0.0}, "guidance": {"lambda_DC": [0.0, 0.0]}}
    (batch,) = batches(broken, 0, 1, settings=supervised)
    assert batch.u_image is batch.u_ignore is batch.partner_image is batch.colors is batch.boxes is None
    assert torch.equal(batch.x_image, batches(index, 0, 1)[0].x_image)
    assert batch.to(torch.device("cpu")).x_label.shape == (4, 24, 24)


def test_without_unlabelled_images_the_remedy_is_told(index, batches):
    with pytest.raises(InputError, match=r"no image is unlabelled.*--labels"):
        batches(replace(index, unlabeled=()))


def test_unlabelled_masks_are_never_read(index, batches):
    def fail():
        raise AssertionError("an unlabelled mask was read")

    poisoned = tuple(Record(id=record.id, image=record.image, label=fail) for record in index.unlabeled)
    batches(replace(index, unlabeled=poisoned))


def test_a_batch_survives_pickling(index, same, batches):
    (batch,) = batches(index, 0, 1)
    assert same(pickle.loads(pickle.dumps(batch)), batch)
