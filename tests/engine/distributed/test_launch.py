import signal

import pytest

from semivl_cli.engine.distributed.launch import _exit_code
from semivl_cli.errors import RunError


def test_a_process_that_is_lost_is_told_though_the_others_were_stopped_in_time():
    for codes in ([-9], [143, -9], [-9, 143], [3, -9]):
        with pytest.raises(RunError, match=r"killed by signal 9, .*stands at its last checkpoint"):
            _exit_code(codes)


def test_the_code_of_a_process_that_ended_by_itself_is_that_of_the_job():
    assert _exit_code([2]) == 2
    assert _exit_code([3, 2]) == 3


def test_a_process_that_was_stopped_because_another_ended_is_not_lost():
    assert _exit_code([2, -signal.SIGTERM]) == 2
    assert _exit_code([-signal.SIGTERM, 3, 143]) == 3
