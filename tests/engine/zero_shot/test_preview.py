"""The regions that words win, and what each class gets of an image."""

import numpy as np
import pytest

from semivl_cli.engine.zero_shot.preview import SMALLEST, class_shares, find_regions


def test_regions_are_connected_and_named_at_their_deepest_pixel():
    winners = np.zeros((60, 60), dtype=np.intp)
    winners[10:31, 10:31] = 3
    winners[40:51, 40:55] = 3
    winners[0, 0] = 7  # too small for a name
    background, large, small = find_regions(winners)
    assert (background.text, large.text, small.text) == (0, 3, 3)
    assert large.center == (20, 20) and large.share == pytest.approx(21 * 21 / 3600)
    assert small.center[0] == 45
    assert all(region.share >= SMALLEST for region in (background, large, small))


def test_shares_add_up(segmenter, scene):
    found = segmenter.segment(scene)
    shares = class_shares(segmenter, found)
    assert sum(one.share for one in shares) == pytest.approx(1)
    assert [one.share for one in shares] == sorted((one.share for one in shares), reverse=True)
    assert sum(one.sure for one in shares) == pytest.approx(
        float((found.confidence >= segmenter.config.guidance.zeta).mean())
    )
    for one in shares:
        assert sum(share for _, share in one.words) == pytest.approx(one.share)
        assert {text for text, _ in one.words} <= set(segmenter.definition.classes[one.class_id].concepts)
