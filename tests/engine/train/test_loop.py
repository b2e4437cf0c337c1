"""What a training says of itself while it goes."""

from types import SimpleNamespace

import pytest
import torch

from semivl_cli.engine.train.loop import Loop


@pytest.mark.parametrize(
    ("device", "seconds", "said"),
    [
        ("cpu", 30.0, ["the first step took 30.0 s: about 8 hours for all 1000 on this CPU"]),
        ("cpu", 0.5, []),
        ("cuda", 30.0, []),  # whose first step has not ended when this is asked
    ],
)
def test_hours_on_a_cpu_are_told_after_the_first_step(device, seconds, said):
    lines = []
    loop = SimpleNamespace(
        training=SimpleNamespace(device=torch.device(device)),
        steps=1000,
        done=1,
        reporter=SimpleNamespace(note=lines.append),
    )
    Loop.say_hours(loop, seconds)
    assert [line.partition(";")[0] for line in lines] == said
