"""Times and weighs the index of a simulated dataset of millions of images: list, open, draw, start a worker.

    python tests/bench/bench_index.py --images 1000000 10000000 100000000
    python tests/bench/bench_index.py --images 100000000 --kind shards

Seconds are those of the processor (of workers: by the clock, until they answered): other programs
that run count little.
Each size runs in a process of its own, so that the peak memory is its own. No image exists; the index is real.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from semivl_cli.data.contract import Record
from semivl_cli.data.pool import shards
from semivl_cli.data.pool.hidden_masks import Hidden
from semivl_cli.data.pool.records import Records
from semivl_cli.data.pool.shuffle import shuffled
from semivl_cli.data.pool.unlabeled import Pool
from semivl_cli.data.read.known_files import KnownFiles

IN_SHARD = 10_000
DRAWS = 20_000
BASE = Path("/data/pool")


def stream(count):
    """Yield records as a plugin would: a thousand images a folder, every thousandth with a mask."""
    for number in range(count):
        name = f"part-{number // 1000:06d}/{number:09d}"
        label = BASE / "masks" / f"{name}.png" if number % 1000 == 0 else None
        yield Record(id=name, image=BASE / "images" / f"{name}.jpg", label=label)


def simulated_shards(count, folder):
    """Write what a scan of the shards would have kept; the shards themselves are empty files."""
    table = np.stack([np.arange(IN_SHARD) * 200, np.full(IN_SHARD, 100_000)], axis=1).astype(np.uint32)
    paths = [folder / f"shard-{number:06d}.tar" for number in range(count // IN_SHARD)]
    for path in paths:
        path.touch()
        shards._cached(path).parent.mkdir(parents=True, exist_ok=True)
        np.save(shards._cached(path), table)
    return paths


def memory():
    """Memory of this process in MiB, without what is mapped from files: now, and the peak with it."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) / 1024, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def draw(records, at):
    began = time.process_time()
    for place in range(DRAWS):
        records[at(place)]
    return (time.process_time() - began) / DRAWS


def worker(records, began, answers):
    records[len(records) // 2]
    answers.put((time.time() - began, memory()[0]))


def row_of(kind, count, folder):
    """Measure one size."""
    empty = memory()[0]
    row = {"kind": kind, "images": count}
    if kind == "paths":
        began = time.process_time()
        records = Records.of(stream(count), BASE)
        row["list_seconds"] = time.process_time() - began
        row["bytes_an_image"] = len(records._data) / count
        row["peak_mib"] = memory()[1]
        records.save(folder / "records")
        del records
        began = time.process_time()
        records = Records.open(folder / "records")
        unlabeled = Hidden(records, records.labeled[:1000].astype(np.int64))
        row["open_seconds"] = time.process_time() - began
        row["draw_microseconds"] = 1e6 * draw(unlabeled, lambda place: shuffled(place, len(unlabeled), (0, 1, 0)))
    else:
        paths = simulated_shards(count, folder)
        own = Hidden(Records.of(stream(1000), BASE), [])
        began = time.process_time()
        unlabeled = Pool(own, Records.of((), BASE), shards.open_shards(paths, print), KnownFiles(()))
        row["open_seconds"] = time.process_time() - began
        row["cache_bytes_an_image"] = sum(shards._cached(path).stat().st_size for path in paths) / count
        row["draw_microseconds"] = 1e6 * draw(unlabeled, lambda place: unlabeled.at(place, (0, 1, 0)))
    began = time.process_time()
    unlabeled.digest()
    row["digest_seconds"] = time.process_time() - began
    row["own_mib"] = memory()[0] - empty
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["semivl_cli.data.pool.unlabeled"])
    for name in ("worker_first", "worker"):
        answers = context.Queue()
        process = context.Process(target=worker, args=(unlabeled, time.time(), answers))
        process.start()
        row[f"{name}_seconds"], row[f"{name}_mib"] = answers.get()
        process.join()
    print(json.dumps({name: round(value, 2) if isinstance(value, float) else value for name, value in row.items()}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--kind", choices=("paths", "shards"), nargs="+", default=["paths", "shards"])
    parser.add_argument("--folder", type=Path, default=None, help="for the files of the index; default: $TMPDIR")
    arguments = parser.parse_args()
    for count in arguments.images:
        for kind in arguments.kind:
            with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                os.environ["SEMIVL_CACHE"] = folder
                process = multiprocessing.get_context("fork").Process(target=row_of, args=(kind, count, Path(folder)))
                process.start()
                process.join()
                if process.exitcode:
                    sys.exit(process.exitcode)


if __name__ == "__main__":
    main()
