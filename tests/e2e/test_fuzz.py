"""Damaged files end in a result or in one line, whichever reader meets them; `bench/fuzz.py` tries 100,000 of them."""

import os
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from semivl_cli.errors import InputError

pytestmark = pytest.mark.skipif(
    not hasattr(signal, "setitimer") or not Path("/proc/self/statm").exists(), reason="Linux"
)


@pytest.fixture
def fuzz(monkeypatch):
    """The program, what it changes in this process put back afterwards."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "bench")
    monkeypatch.setenv("SEMIVL_CACHE", "")
    import fuzz as program  # noqa: PLC0415

    monkeypatch.setattr(sys.modules["semivl_cli.cli"], "traceback", sys.modules["semivl_cli.cli"].traceback)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return program


def test_files_as_their_tools_write_them_are_read(fuzz, tmp_path):
    for number, reader in enumerate(fuzz.READERS):
        folder = tmp_path / str(number)
        folder.mkdir()
        fuzz.write(reader.files(), folder)
        try:
            reader.read(folder)
        except InputError as error:
            pytest.fail(f"{reader.name}: {error}")


def test_damaged_files_end_in_a_result_or_in_one_line(fuzz):
    found = Counter()
    cases = int(os.environ.get("SEMIVL_FUZZ_CASES", "300"))
    fuzz.run(range(1_000_000, 1_000_000 + cases), fuzz.READERS, None, found)
    assert not found


def test_a_case_is_made_again_from_its_number(fuzz):
    for number in range(2_000_000, 2_000_000 + len(fuzz.READERS)):
        assert fuzz.build(number, fuzz.READERS) == fuzz.build(number, fuzz.READERS)


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (lambda _: {}["a"], "KeyError at bad"),
        (lambda _: (_ for _ in ()).throw(InputError("first\nsecond")), "bad: InputError of several lines"),
        (lambda _: bytearray(3 * 2**30), "MemoryError at bad"),
        (lambda _: [None for _ in iter(int, 1)], "TooLong at bad"),
    ],
)
def test_every_fault_is_found(fuzz, monkeypatch, read, kind):
    monkeypatch.setattr(fuzz, "TIMERS", ((signal.ITIMER_REAL, signal.SIGALRM, 0.2),))
    reader = type(fuzz.READERS[0])(name="bad", files=lambda: {"a": b"1"}, read=read)
    found = Counter()
    with tempfile.TemporaryDirectory() as folder:
        fuzz.run([1], [reader, reader], Path(folder), found)
        assert found == {kind: 1}
        assert (Path(folder) / "1" / "fault.txt").read_text().startswith(kind)
