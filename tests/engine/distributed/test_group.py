"""Many processes train as one does: on gloo, forked from one program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from semivl_cli.engine.distributed.group import ProcessGroup
from semivl_cli.errors import InputError

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork processes")
CASES = ["same image", "groups across processes", "pairs", "groups of pixelavg", "BatchNorm"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What every process of 1, 2 and 4 came to: `{(processes, rank): values}`."""
    out = tmp_path_factory.mktemp("together")
    script = Path(__file__).with_name("together.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [sys.executable, script, out], check=False, capture_output=True, text=True, env=environment, timeout=240
    )
    assert ran.returncode == 0, ran.stderr
    return {
        (count, rank): torch.load(out / f"{count}-{rank}.pt", weights_only=False)
        for count in (1, 2, 4)
        for rank in range(count)
    }


def distance(a, b) -> float:
    return max(
        float((a[name].double() - b[name].double()).abs().max() / b[name].double().abs().max().clamp(min=1e-3))
        for name in b
    )


@pytest.mark.parametrize("case", CASES)
def test_any_number_of_processes_comes_to_the_same_weights(found, case):
    one = found[1, 0][case]
    begun = one["losses"][0, 0]
    assert begun > 0 and one["losses"][-1, 0] != begun
    for (count, rank), values in found.items():
        if case in ("pairs", "groups of pixelavg") and count == 4:
            assert values[case] is None  # three pairs are too few for four
            continue
        many = values[case]
        assert distance(many["state"], one["state"]) < 1e-9, (count, rank)
        torch.testing.assert_close(many["losses"][:, :4], one["losses"][:, :4], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(many["losses"], one["losses"], rtol=1e-6, atol=1e-7)  # shares of pixels: float32


def test_in_float32_the_losses_are_the_same(found):
    for values in found.values():
        one, many = found[1, 0]["float32"], values["float32"]
        torch.testing.assert_close(many["losses"], one["losses"], rtol=1e-5, atol=1e-6)


def test_all_processes_hold_the_same_bits(found):
    for case in ("float32", *CASES):
        for count in (2, 4):
            states = [found[count, rank][case] for rank in range(count)]
            for other in states[1:]:
                if other is not None:
                    assert all(torch.equal(other["state"][name], states[0]["state"][name]) for name in other["state"])


@pytest.mark.parametrize("case", ["uneven parts", "short memory"])
def test_processes_may_cut_their_shares_differently(found, case):
    one = found[1, 0]["same image"]
    for values in found.values():
        assert distance(values[case]["state"], one["state"]) < 1e-9


def test_processes_score_each_image_once(found):
    for values in found.values():
        assert values["scores"] == found[1, 0]["scores"]
    assert [scores["images"] for scores in found[1, 0]["scores"]] == [11, 2]


def test_a_process_that_began_with_other_weights_is_named_and_corrected(found):
    for (count, _), values in found.items():
        before, after, bias = values["unlike"]
        assert before == ([] if count == 1 else ["decoder.head.bias"])
        assert after == []
        assert bias == found[1, 0]["unlike"][2]


def test_all_stop_after_the_same_step(found):
    assert found[1, 0]["wishes"] == [None, None, None, 2, None, None]
    for (count, _), values in found.items():
        if count > 1:  # the wish travels for a step
            assert values["wishes"] == [None, None, None, None, 2, None]


def test_the_main_process_broadcasts_and_the_least_counts(found):
    for (count, _), values in found.items():
        assert values["broadcast"] == ({"rank": 0}, 6 - count)


def test_slices_cover_the_batch_in_whole_units():
    for batch, unit, count in [(8, 1, 3), (8, 2, 4), (6, 2, 3), (7, 1, 7)]:
        processes = [ProcessGroup(rank=rank, world_size=count) for rank in range(count)]
        slices = [range(batch)[process.rank_slice(batch, unit)] for process in processes]
        assert [position for own in slices for position in own] == list(range(batch))
        assert all(len(own) and len(own) % unit == 0 for own in slices)
    with pytest.raises(InputError, match="at most 4"):
        ProcessGroup(rank=0, world_size=5).rank_slice(8, 2)
