"""Throughput in several processes: `python tests/bench/bench_processes.py --gpus 1 2 4 -- --dataset voc`.

What follows `--` goes to `semivl train` (default: the demo). Each number of processes trains the same steps into a
temporary run; the speed is that of the later half, without the start. With `--device cpu` the processes share the
cores. Prints one JSON object a line.

`--flat` asks instead whether it helps that gradients leave in buckets: two gloo processes on the CPU take turns with
buckets and with one sum of all gradients at the end of the same steps (ViT-B/16, random weights and pixels).
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from bench_step import batch, build, settings

from semivl_cli.engine.distributed import gradients
from semivl_cli.engine.distributed.join import joined
from semivl_cli.engine.train.accumulate import accumulate_gradients
from semivl_cli.engine.train.guidance_labels import make_targets


def throughput(arguments):
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


def steps_in_turns(arguments, process_group):
    """Seconds of steps with buckets and with one flat sum, and of that sum alone."""
    config, device = settings(arguments), torch.device("cpu")
    model, spec, guide = build(arguments, device)
    x, u = batch(arguments, spec, device)
    trained = [parameter for parameter in model.train().parameters() if parameter.requires_grad]
    seconds = {"buckets": [], "flat": [], "sum alone": []}
    ways = {"buckets": gradients.GradientBuckets(process_group, trained)}
    gradients.BUCKET_BYTES = 2**62
    ways["flat"] = gradients.GradientBuckets(process_group, trained)
    everything = torch.zeros(sum(parameter.numel() for parameter in trained))
    for _ in range(arguments.steps + 1):
        for name, buckets in ways.items():
            model.zero_grad()
            process_group.barrier()
            began = time.perf_counter()
            targets = make_targets(guide, x, u, config, arguments.batch)
            accumulate_gradients(model, x, u, targets, config, 0.1, arguments.batch, buckets)
            buckets.all_reduce()
            process_group.barrier()
            seconds[name].append(time.perf_counter() - began)
        began = time.perf_counter()
        process_group.all_reduce(everything)
        seconds["sum alone"].append(time.perf_counter() - began)
    return everything.nbytes, {name: values[1:] for name, values in seconds.items()}


def flat(arguments):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)  # forked threads do not live on
    child = os.fork()
    os.environ |= {"RANK": str(int(child == 0)), "LOCAL_RANK": str(int(child == 0))}
    with joined() as process_group:
        size, seconds = steps_in_turns(arguments, process_group)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    ratios = sorted(b / a for a, b in zip(seconds["buckets"], seconds["flat"], strict=True))
    found = {name: {"median": median(values), "best": min(values)} for name, values in seconds.items()}
    quartiles = [ratios[len(ratios) // 4], median(ratios), ratios[3 * len(ratios) // 4]]
    print(json.dumps({"crop": arguments.crop, "mib": size / 2**20, **found, "flat of buckets, quartiles": quartiles}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--flat", action="store_true")
    parser.add_argument("--clip", default="ViT-B-16")
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("train", nargs="*", help="arguments of semivl train")
    arguments = parser.parse_args()
    (flat if arguments.flat else throughput)(arguments)


if __name__ == "__main__":
    main()
