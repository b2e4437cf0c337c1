"""Learning rates and the weight of guidance over a training."""

from itertools import pairwise

import pytest

from semivl_cli.engine.train.schedule import schedule_of
from semivl_cli.settings_toml import resolve


def schedule(steps, power=0.9, weights=(0.1, 0.0)):
    settings = {"training": {"steps": steps}, "guidance": {"lambda_DC": list(weights)}, "optimizer": {"power": power}}
    return schedule_of(resolve(settings), 100)


def test_the_schedule_starts_twice_at_one_and_falls():
    factors = [schedule(100).rate_factor(t) for t in range(100)]
    assert factors[:2] == [1.0, 1.0]
    assert factors[51] == pytest.approx(0.5**0.9)
    assert all(a > b > 0 for a, b in pairwise(factors[1:]))
    assert schedule(100, power=0.0).rate_factor(51) == 1.0


def test_lambda_falls_linearly():
    assert [schedule(4).lambda_DC(t) for t in range(5)] == pytest.approx([0.1, 0.075, 0.05, 0.025, 0.0])
    assert schedule(7, weights=(0.2, 0.2)).lambda_DC(3) == pytest.approx(0.2)


def test_a_schedule_knows_rate_and_lambda_of_its_own_length():
    short = schedule(4, power=1.0)
    assert [short.lambda_DC(step) for step in range(4)] == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert [short.rate_factor(step) for step in range(4)] == pytest.approx([1.0, 1.0, 0.75, 0.5])
