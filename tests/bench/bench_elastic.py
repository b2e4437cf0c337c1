"""Two machines' worth of processes, one of which dies: `python tests/bench/bench_elastic.py [--steps 60] [--after 20]`.

Two torchrun agents with a rendezvous on the loopback train one run together (gloo, one process each). Once a checkpoint
stands, a training process is killed with SIGKILL; torchrun starts both again, and the run has to go on from its last
checkpoint to its end. A second training, undisturbed, tells what the result should be. Prints one JSON object; fails
where the run does not end, did not resume, or ends with other losses.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TINY = [
    *("--recipe", "tiny", "--device", "cpu", "--set", "training.batch=4", "--set", "training.log_steps=1"),
    *("--set", "data.crop=32", "--set", "training.save_steps=5", "--set", "training.evaluate_every=none"),
    *("--set", "evaluation.mode=whole", "--set", "evaluation.short_side=32"),
    *("--set", "training.evaluate_steps=none"),
]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def agents(folder: Path, run: str, steps: int, count: int) -> "list[subprocess.Popen[bytes]]":
    port = free_port()
    launcher = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={count}", "--nproc-per-node=1"]
    launcher += ["--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{port}", "--rdzv-id=bench", "--max-restarts=3"]
    training = ["-m", "semivl_cli", "train", *TINY, "--set", f"training.steps={steps}", "--resume", "--out", run]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = []
    for node in range(count):
        log = (folder / f"{run}-{node}.log").open("wb")
        command = [*launcher, "--local-addr=localhost", *training]
        started.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log))
    return started


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def losses(run: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["kind"] == "train"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--after", type=int, default=20, help="step after which a process is killed")
    parser.add_argument("--patience", type=float, default=900, help="seconds after which the job counts as hung")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone = agents(folder, "undisturbed", arguments.steps, 1)[0]
        assert alone.wait(arguments.patience) == 0, (folder / "undisturbed-0.log").read_text()

        nodes = agents(folder, "run", arguments.steps, 2)
        began = time.monotonic()
        metrics, killed, lost = folder / "run" / "metrics.jsonl", None, 0
        while any(node.poll() is None for node in nodes):
            assert time.monotonic() - began < arguments.patience, "the job hangs"
            if killed is None and metrics.is_file() and metrics.read_text().count("\n") >= arguments.after:
                [victim] = children(nodes[1].pid)
                os.kill(victim, signal.SIGKILL)
                killed, lost = time.monotonic(), metrics.read_text().count("\n")
            time.sleep(0.1)
        logs = "\n".join((folder / f"run-{node}.log").read_text() for node in range(2))
        assert [node.returncode for node in nodes] == [0, 0], logs
        assert killed is not None and "resuming run at step" in logs, logs
        expected, found = losses(folder / "undisturbed"), losses(folder / "run")
        assert found.keys() == expected.keys(), logs
        # Before the kill and after it the same training; its last digits drift as sums are added in another order.
        first = max(abs(found[step] - expected[step]) / expected[step] for step in range(1, 4))
        assert first < 1e-4, (found, expected)
        resumed = int(logs.split("resuming run at step ")[1].split()[0])
        row = {
            "killed_at_step": lost,
            "resumed_at_step": resumed,
            "steps": arguments.steps,
            "first_steps_differ": first,
        }
        print(json.dumps({**row, "seconds_from_kill_to_end": round(time.monotonic() - killed, 1)}))


if __name__ == "__main__":
    main()
