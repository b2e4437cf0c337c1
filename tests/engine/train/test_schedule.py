"""Learning rates and the weight of guidance over a training."""

from itertools import pairwise

import pytest

from semivl_cli.config import resolve
from semivl_cli.engine.train.schedule import lambda_DC, rate_factor, schedule_of


def test_the_schedule_starts_twice_at_one_and_falls():
    factors = [rate_factor(t, 100, 0.9) for t in range(100)]
    assert factors[:2] == [1.0, 1.0]
    assert factors[51] == pytest.approx(0.5**0.9)
    assert all(a > b > 0 for a, b in pairwise(factors[1:]))
    assert rate_factor(51, 100, 0.0) == 1.0


def test_lambda_falls_linearly():
    assert [lambda_DC(0.1, 0.0, t, 4) for t in range(5)] == pytest.approx([0.1, 0.075, 0.05, 0.025, 0.0])
    assert lambda_DC(0.2, 0.2, 3, 7) == pytest.approx(0.2)


def test_a_schedule_knows_rate_and_lambda_of_its_own_length():
    config = resolve({"training": {"steps": 4}, "guidance": {"lambda_DC": [0.1, 0.0]}, "optimizer": {"power": 1.0}})
    schedule = schedule_of(config, 100)
    assert [schedule.lambda_DC(step) for step in range(4)] == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert [schedule.rate_factor(step) for step in range(4)] == pytest.approx([1.0, 1.0, 0.75, 0.5])
