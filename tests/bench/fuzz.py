"""Damages the files of every reader and looks what becomes of it: a result, or one line; anything else is a fault.

    python tests/bench/fuzz.py --cases 100000 --jobs 4          # all readers
    python tests/bench/fuzz.py --reader coco --cases 2000       # those of such a name
    python tests/bench/fuzz.py --case 4711                      # one case again, with its traceback

A case is made from its number alone. It has 10 seconds of the processor (a minute by the clock) and 2 GiB beside what
the imports took. What goes wrong is counted by its kind; the first input of each kind is kept below --out, beside what
it did.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

from fuzz_mutate import mutate
from fuzz_readers import READERS, one_line

from semivl_cli.errors import SemiVLError

SECONDS = 10
CLOCK = 60
TIMERS = ((signal.ITIMER_PROF, signal.SIGPROF, SECONDS), (signal.ITIMER_REAL, signal.SIGALRM, CLOCK))
BYTES = 2 * 2**30
_SEEDS = {}


class TooLong(BaseException):
    """A case took longer than it may; no reader catches this."""


def seeds_of(reader):
    """Return the files of a reader, made once."""
    if reader.name not in _SEEDS:
        _SEEDS[reader.name] = reader.files()
    return _SEEDS[reader.name]


def build(number, readers):
    """Return the reader of a case, and its files."""
    rng = random.Random(number)
    reader = readers[number % len(readers)]
    files = seeds_of(reader)
    damaged = {name: data for name, data in files.items() if not name.startswith("fixed/")}
    others = [
        data
        for other in rng.sample(readers, min(2, len(readers)))
        for data in list(seeds_of(other).values())[:3]
        if len(data) < 100_000
    ]
    return reader, {name: data for name, data in files.items() if name not in damaged} | mutate(rng, damaged, others)


def write(files, folder):
    """Write a tree as far as a disk can hold it."""
    for name, data in files.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir() if data is None else path.write_bytes(data)
        except (OSError, ValueError):  # no disk holds such a name
            continue


def try_case(number, readers, folder):
    """Run a case in an empty folder; returns nothing, or the kind of fault and its traceback."""
    reader, files = build(number, readers)
    write(files, folder)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    for timer, number, seconds in TIMERS:
        signal.signal(number, _alarm)
        signal.setitimer(timer, seconds)
    resource.setrlimit(resource.RLIMIT_AS, (_mapped() + BYTES, limits[1]))
    try:
        reader.read(folder)
    except SemiVLError as error:
        try:
            one_line(str(error))
        except (AssertionError, UnicodeError) as wrong:
            return f"{reader.name}: {type(error).__name__} of several lines", str(wrong)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return kind_of(reader, error), "".join(traceback.format_exception(error))
    finally:
        for timer, _, _ in TIMERS:
            signal.setitimer(timer, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
    if (folder / "PWNED").exists():
        return f"{reader.name}: something was executed", ""
    return None


def kind_of(reader, error):
    """Name a fault by its type and the last place in semivl that it passed."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "semivl_" in frame.filename or "/plugins/" in frame.filename
    ]
    places = [
        f"{Path(frame.filename).parent.name}/{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in frames
        if "/bench/" not in frame.filename
    ]
    return f"{type(error).__name__} at {places[-1] if places else reader.name}"


def _alarm(*_):
    raise TooLong


def _mapped():
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def run(numbers, readers, out, found, known=()):
    """Try cases one after the other and count in `found` how often each kind of fault was met."""
    warnings.simplefilter("ignore")
    here = Path.cwd()
    shared = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=shared, ignore_cleanup_errors=True) as name:
        os.environ["SEMIVL_CACHE"] = str(Path(name) / "cache")
        for number in numbers:
            folder = Path(name) / "case"
            folder.mkdir()
            os.chdir(folder)
            began = time.process_time()
            fault = try_case(number, readers, folder)
            if fault is None and time.process_time() - began > SECONDS:
                fault = f"{readers[number % len(readers)].name}: too long, nothing could stop it", ""
            if fault is not None:
                kind, told = fault
                found[kind] += 1
                if found[kind] == 1 and kind not in known:
                    print(f"case {number} ({readers[number % len(readers)].name}): {kind}", flush=True)
                    keep(number, readers, kind, told, out)
            os.chdir(here)
            shutil.rmtree(folder, ignore_errors=True)
            shutil.rmtree(Path(name) / "cache", ignore_errors=True)


def keep(number, readers, kind, told, out):
    """Keep the input of a fault, and what it did."""
    if out is None:
        return
    place = out / str(number)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    write(build(number, readers)[1], place / "files")
    (place / "fault.txt").write_text(f"{kind}\n\n{told}", encoding="utf-8", errors="backslashreplace")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--case", type=int, help="this case alone")
    parser.add_argument("--reader", help="readers whose name holds this")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz-faults"))
    options = parser.parse_args()
    readers = [reader for reader in READERS if (options.reader or "").lower() in reader.name.lower()]
    if options.case is not None:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            os.chdir(name)
            fault = try_case(options.case, readers, Path(name))
        print(readers[options.case % len(readers)].name, *(fault or ("a result, or one line",)), sep="\n")
        return int(fault is not None)
    out = options.out.absolute()
    for reader in readers:
        seeds_of(reader)
    began = time.monotonic()
    found = spread(range(options.first, options.first + options.cases), readers, out, options.jobs)
    faults = f"{found.total()} faults of {len(found)} kinds"
    print(f"{options.cases} cases of {len(readers)} readers: {faults}, {time.monotonic() - began:.0f} s")
    for kind, count in found.most_common():
        print(f"{count:6} {kind}")
    return int(bool(found))


def spread(numbers, readers, out, jobs):
    """Try cases in forks of this process, each of which is replaced where a case takes it along."""
    found = Counter()
    with tempfile.TemporaryDirectory() as folder:
        waiting = {job: list(numbers[job::jobs]) for job in range(jobs)}
        children = {}
        while waiting or children:
            for job in [job for job in waiting if job not in children]:
                if not waiting[job]:
                    del waiting[job]
                    continue
                children[job] = fork(waiting[job], readers, out, Path(folder) / str(job), found)
            time.sleep(0.2)
            for job, child in list(children.items()):
                progress = Path(folder) / str(job)
                at, since = (
                    (int(part) for part in (progress.read_text() or "-1 0").split()) if progress.exists() else (-1, 0)
                )
                ended, status = os.waitpid(child, os.WNOHANG)
                stuck = at >= 0 and time.time_ns() - since > (CLOCK + 15) * 1e9
                if not ended and stuck:
                    os.kill(child, signal.SIGKILL)
                    ended, status = os.waitpid(child, 0)
                if not ended:
                    continue
                del children[job]
                results = progress.with_suffix(".json")
                if results.exists():
                    found.update(json.loads(results.read_text()))
                    results.unlink()
                if status == 0:
                    waiting[job] = []
                else:
                    end = f"{'stuck' if stuck else 'killed'} ({os.waitstatus_to_exitcode(status)})"
                    kind = f"{readers[at % len(readers)].name}: the process was {end}"
                    found[kind] += 1
                    print(f"case {at}: {kind}", flush=True)
                    keep(at, readers, kind, "", out)
                    waiting[job] = [number for number in waiting[job] if number > at]
                progress.unlink(missing_ok=True)
    return found


def fork(numbers, readers, out, progress, known):
    """Run cases in a fork, which writes where it stands before each."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        found = Counter()

        def told():
            for number in numbers:
                progress.write_text(f"{number} {time.time_ns()}")
                progress.with_suffix(".json").write_text(json.dumps(found))
                yield number

        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)  # libraries warn there
        run(told(), readers, out, found, known)
        progress.with_suffix(".json").write_text(json.dumps(found))
        code = 0
    except Exception:
        traceback.print_exc(file=sys.stdout)
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
