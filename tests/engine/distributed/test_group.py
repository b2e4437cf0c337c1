"""Many processes train as one does: on gloo, forked from one program; and what the environment says about them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from semivl_cli.engine.distributed.group import Team, first_host, team_of
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


def test_the_leader_tells_and_the_least_counts(found):
    for (count, _), values in found.items():
        assert values["told"] == ({"rank": 0}, 6 - count)


TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "a"}
SLURM = {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_NNODES": "2"}


def test_the_environment_says_which_process_this_is(monkeypatch):
    assert team_of({}).count == team_of({"RANK": "0", "WORLD_SIZE": "1"}).count == 1
    team = team_of(TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "1", "TORCHELASTIC_MAX_RESTARTS": "3"})
    assert (team.rank, team.count, team.local_rank, team.local_count, team.sharing) == (5, 8, 1, 4, 4)
    assert (team.url, team.restarts, team.restarted, team.leads) == ("env://", True, True, False)
    team = team_of(SLURM | {"SLURM_NODELIST": "gpu[07-09],x", "SLURM_JOB_ID": "41", "SLURM_STEP_ID": "0"})
    assert (team.rank, team.count, team.local_rank, team.local_count) == (5, 8, 1, 4)
    assert team.url == "tcp://gpu07:20041"
    assert team_of(SLURM | {"SLURM_NODELIST": "b1", "MASTER_PORT": "7"}).url == "tcp://b1:7"
    # The batch script around `srun` is one process, whatever SLURM calls it.
    assert team_of(SLURM | {"SLURM_JOB_ID": "41", "SLURM_PROCID": "0"}).count == 1


@pytest.mark.parametrize(
    ("environment", "hint"),
    [
        (TORCHRUN | {"RANK": "x"}, "RANK = 'x'"),
        (TORCHRUN | {"RANK": "8"}, "process 8 of 8"),
        (TORCHRUN | {"MASTER_ADDR": ""}, "MASTER_ADDR"),
    ],
)
def test_an_environment_that_makes_no_sense_is_one_line(environment, hint):
    with pytest.raises(InputError, match=hint):
        team_of(environment)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu1", "gpu1"),
        ("gpu[07-09,12],cpu1", "gpu07"),
        ("a-1,b-2", "a-1"),
        ("n[3,5-6]", "n3"),
        ("rack[1-2]n[0-3]", "rack1n0"),
        ("gpu[07-09].example.org", "gpu07.example.org"),
    ],
)
def test_the_first_host_of_a_node_list(nodes, first):
    assert first_host(nodes) == first


def test_shares_cover_the_batch_in_whole_units():
    for batch, unit, count in [(8, 1, 3), (8, 2, 4), (6, 2, 3), (7, 1, 7)]:
        shares = [range(batch)[Team(rank=rank, count=count).share(batch, unit)] for rank in range(count)]
        assert [position for share in shares for position in share] == list(range(batch))
        assert all(len(share) and len(share) % unit == 0 for share in shares)
    with pytest.raises(InputError, match="at most 4"):
        Team(rank=0, count=5).share(8, 2)
