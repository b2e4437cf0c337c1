"""Throughput in several processes: `python tests/bench/bench_processes.py --gpus 1 2 4 -- --dataset voc`.

What follows `--` goes to `semivl train` (default: the demo). Each number of processes trains the same steps into a
temporary run; the speed is that of the later half, without the start. With `--device cpu` the processes share the
cores. Prints one JSON object a line.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("train", nargs="*", help="arguments of semivl train")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    one = None
    for count in arguments.gpus:
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            settings = [f"training.steps={arguments.steps}", "training.log_steps=5", "training.evaluate_every=none"]
            command = [sys.executable, "-m", "semivl_cli", "train", *arguments.train, "--gpus", str(count)]
            command += ["--device", arguments.device, "--out", str(run)]
            command += [word for setting in settings for word in ("--set", setting)]
            environment = {**os.environ, "OMP_NUM_THREADS": str(max(cores // count, 1))}
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
            lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        speeds = [line["images_per_second"] for line in lines if line["kind"] == "train"]
        speed = median(speeds[len(speeds) // 2 :])
        one = one or speed / count
        print(json.dumps({"processes": count, "images_per_second": speed, "of_linear": speed / (one * count)}))


if __name__ == "__main__":
    main()
