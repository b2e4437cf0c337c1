"""What the environment says about the processes that a launcher started."""

import pytest

from semivl_cli.engine.distributed.join import first_host, process_group_of
from semivl_cli.errors import InputError

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "a"}
SLURM = {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_NNODES": "2"}


def test_the_environment_says_which_process_this_is(monkeypatch):
    assert process_group_of({}).world_size == process_group_of({"RANK": "0", "WORLD_SIZE": "1"}).world_size == 1
    group = process_group_of(TORCHRUN | {"TORCHELASTIC_RESTART_COUNT": "1", "TORCHELASTIC_MAX_RESTARTS": "3"})
    assert (group.rank, group.world_size, group.local_rank, group.local_world_size, group.sharing) == (5, 8, 1, 4, 4)
    assert (group.url, group.restarts, group.restarted, group.is_main) == ("env://", True, True, False)
    group = process_group_of(SLURM | {"SLURM_NODELIST": "gpu[07-09],x", "SLURM_JOB_ID": "41", "SLURM_STEP_ID": "0"})
    assert (group.rank, group.world_size, group.local_rank, group.local_world_size) == (5, 8, 1, 4)
    assert group.url == "tcp://gpu07:20041"
    assert process_group_of(SLURM | {"SLURM_NODELIST": "b1", "MASTER_PORT": "7"}).url == "tcp://b1:7"
    # The batch script around `srun` is one process, whatever SLURM calls it.
    assert process_group_of(SLURM | {"SLURM_JOB_ID": "41", "SLURM_PROCID": "0"}).world_size == 1


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
        process_group_of(environment)


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
