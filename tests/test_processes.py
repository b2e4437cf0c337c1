"""Work that is spread over threads comes back in order; processes run nothing of the folder that they start in."""

import os
import subprocess
import sys
import time

import pytest

from semivl_cli.processes import in_threads, usable_cores


def test_results_come_in_order_with_their_jobs():
    def slow_first(number):
        time.sleep(0.01 * (number == 0))
        return number * number

    assert list(in_threads(slow_first, range(2000))) == [(number, number * number) for number in range(2000)]


def test_jobs_are_taken_as_they_are_needed():
    taken = []
    results = in_threads(str, (taken.append(number) or number for number in range(10**6)))
    assert next(results) == (0, "0")
    assert len(taken) < 10**4


def test_a_job_that_fails_ends_the_others():
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda number: 1 / number, [1, 0, 2]))


def test_there_is_a_core():
    assert usable_cores() >= 1


@pytest.mark.parametrize("how", [["-m", "semivl_cli", "--version"], ["tools/semivl", "--version"], ["tools/workers"]])
def test_nothing_of_the_working_directory_is_run(tmp_path, stray_modules, loaded_by_m, how):
    for name in loaded_by_m if how[0] != "-m" else ():
        (tmp_path / f"{name}.py").write_text(f"open({str(stray_modules)!r}, 'a').write(__file__)\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "semivl").write_text("from semivl_cli.cli import main\n\nif __name__ == '__main__':\n    main()\n")
    (tools / "workers").write_text(
        "from semivl_cli.processes import clean_context\n\nif __name__ == '__main__':\n"
        "    worker = clean_context().Process(target=print, args=('semivl',))\n    worker.start()\n    worker.join()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, *how], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=100
    )
    assert done.stdout.startswith("semivl") and not stray_modules.exists()
