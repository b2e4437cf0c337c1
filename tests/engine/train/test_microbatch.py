"""Memory: the largest micro-batch is found without running out, and less memory changes no number."""

import copy

import pytest
import torch

from semivl_cli.config import RunConfig
from semivl_cli.engine.device_memory import LinuxMeter, _left_in_groups, meter_of
from semivl_cli.engine.train.microbatch import advice, largest_that_fits, sizes
from semivl_cli.errors import InputError

from .tiny import batch, build, settings, train_step


class Pretended:
    """A device of 100 bytes: 20 are in use, and every image takes 15, or runs out above a hidden number."""

    def __init__(self, limit=100, each=15):
        self._limit, self.each, self.images, self.tried = limit, each, 0, []

    def start(self):
        self.images = 0
        return 20

    def peak(self):
        return 20 + self.each * self.images

    def limit(self):
        return self._limit

    def step(self, images):
        self.tried.append(images)
        self.images = images
        if self.peak() > 130:
            raise torch.OutOfMemoryError("out of memory")


@pytest.mark.parametrize(
    ("share", "unit", "expected"),
    [(8, 1, [1, 2, 4, 8]), (6, 2, [2, 4, 6]), (6, 3, [3, 6]), (5, 1, [1, 2, 4, 5]), (4, 4, [4]), (1, 1, [1])],
)
def test_sizes_are_whole_units_up_to_the_share(share, unit, expected):
    assert sizes(share, unit) == expected


def test_the_largest_is_found_without_trying_what_cannot_fit():
    device = Pretended()
    assert largest_that_fits([1, 2, 4, 8], device.step, device) == (4, 80, 100)
    assert device.tried == [1, 2, 4]  # 8 would take 140 and was left alone


def test_what_a_training_needs_besides_is_counted():
    device = Pretended()
    assert largest_that_fits([1, 2, 4, 8], device.step, device, reserve=30)[0] == 2


def test_running_out_is_survived_and_nothing_may_fit():
    device = Pretended(limit=1000)
    assert largest_that_fits([1, 2, 4, 8], device.step, device)[0] == 4
    assert device.tried == [1, 2, 4, 8]
    device = Pretended(limit=30)
    assert largest_that_fits([1, 2], device.step, device)[0] == 0


def test_one_process_that_lacks_memory_decides_for_all():
    device = Pretended()
    answers = iter([1, 0])
    assert largest_that_fits([1, 2, 4], device.step, device, agree=lambda _: next(answers))[0] == 1


@pytest.mark.skipif(not __import__("pathlib").Path("/proc/self/clear_refs").exists(), reason="only Linux has /proc")
def test_linux_remembers_the_peak():
    meter = meter_of(torch.device("cpu"), 1)
    assert isinstance(meter, LinuxMeter)
    before = meter.start()
    torch.ones(50 * 2**20, dtype=torch.uint8).sum()
    assert meter.peak() - before > 40 * 2**20
    meter.start()
    assert meter.peak() - before < 40 * 2**20
    assert meter.limit() > before


def test_other_devices_have_no_meter():
    with pytest.raises(InputError, match="micro_batch=2"):
        meter_of(torch.device("mps"), 1)


def test_containers_limit_memory(tmp_path):
    job = tmp_path / "root" / "job" / "step"
    job.mkdir(parents=True)
    (tmp_path / "cgroup").write_text("0::/job/step\n")
    assert _left_in_groups(tmp_path / "root", tmp_path / "cgroup") == 2**62
    (job / "memory.max").write_text("max\n")
    (job / "memory.current").write_text("5\n")
    (job.parent / "memory.max").write_text("1000\n")
    (job.parent / "memory.current").write_text("300\n")
    assert _left_in_groups(tmp_path / "root", tmp_path / "cgroup") == 700
    # Files that were read are given up for whoever needs the room.
    (job.parent / "memory.stat").write_text("anon 90\nfile 200\ninactive_file 150\nactive_file 40\n")
    assert _left_in_groups(tmp_path / "root", tmp_path / "cgroup") == 890
    assert _left_in_groups(tmp_path / "root", tmp_path / "none") == 2**62


def test_advice_names_only_what_is_left():
    config = RunConfig()
    said = advice(config, 8, recomputes=False)
    assert "micro_batch=2 (memory to 25 %" in said and "checkpoint_activations=true" in said and "data.crop=384" in said
    said = advice(config, config.micro_batch_unit, recomputes=True)
    assert "micro_batch" not in said and "checkpoint_activations" not in said


@pytest.mark.parametrize("detail", [False, True], ids=["plain", "detail"])
@pytest.mark.parametrize("cast", [False, True], ids=["float64", "bf16"])
def test_activations_computed_twice_change_no_bit(detail, cast):
    model, guide = build(detail)
    if cast:
        model, guide = model.float(), guide.float()
    other = copy.deepcopy(model)
    other.checkpoint_activations()
    x, u = batch(4, True, (16, 8, 6) if detail else (8, 8, 6))
    state = torch.random.get_rng_state()
    config = settings(training={"batch": 4, "precision": "bf16" if cast else "fp32"})
    seen = [train_step(each, guide, x, u, config, 0.3, 2) for each in (model, other)]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(seen[0][name], seen[1][name]) for name in seen[0])
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        assert a.grad is None or torch.equal(a.grad, b.grad), name
    assert all(torch.equal(a, b) for a, b in zip(model.buffers(), other.buffers(), strict=True))


def test_activations_computed_twice_are_not_kept():
    kept = []
    for recompute in (False, True):
        model, _ = build()
        model.checkpoint_activations(recompute)
        x, _ = batch(2, True)
        sizes_kept = []

        def keep(tensor, sizes_kept=sizes_kept):
            sizes_kept.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(x.image)
        kept.append(sum(sizes_kept))
    assert kept[1] < kept[0] / 2
