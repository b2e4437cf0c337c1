"""CutMix pastes partners into strong views; without other crops the images of a pair are each other's partner."""

import torch

from semivl_cli.engine.train.inputs import cutmix

from .tiny import SIZE, views


def test_partners_are_pasted_into_the_boxes_of_strong_views():
    own, other = views(2)
    box1, box2 = torch.zeros(2, 2, SIZE, SIZE, dtype=torch.bool)
    box1[0, :4], box2[1, 2:3, 5:] = True, True
    u = cutmix(own, other, (box1, box2), ())
    assert torch.equal(u.weak, own.weak) and u.partner is other.weak
    assert torch.equal(u.mixed[0][0, :, :4], other.strong1[0, :, :4])
    assert torch.equal(u.mixed[0][0, :, 4:], own.strong1[0, :, 4:]) and torch.equal(u.mixed[0][1], own.strong1[1])
    assert torch.equal(u.mixed[1][1, :, 2, 5:], other.strong2[1, :, 2, 5:])
    plain, first, second = u.valid
    assert torch.equal(plain, own.valid) and torch.equal(first[0, :4], other.valid[0, :4])
    assert torch.equal(second[1, 2, 5:], other.valid[1, 2, 5:])


def test_without_other_crops_neighbours_exchange_what_lies_in_the_boxes():
    own, _ = views(4)
    box = torch.ones(4, SIZE, SIZE, dtype=torch.bool)
    u = cutmix(own, None, (box, ~box), ())
    assert u.partner is None
    assert torch.equal(u.mixed[0], own.strong1[[1, 0, 3, 2]]) and torch.equal(u.mixed[1], own.strong2)
    assert torch.equal(u.valid[1], own.valid[[1, 0, 3, 2]])
    plain, first, second = u.mix(torch.arange(4).expand(1, 1, 4).permute(2, 0, 1).expand(4, SIZE, SIZE), None)
    assert (first[:, 0, 0].tolist(), second[:, 0, 0].tolist()) == ([1, 0, 3, 2], plain[:, 0, 0].tolist())
