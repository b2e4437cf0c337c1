"""SHA-256 of all tensors of runs, to prove that no number changed: `python tests/bench/hash_runs.py RUN...`."""

import argparse
import hashlib
from pathlib import Path

from safetensors.torch import load_file

from semivl_cli.engine.rundir.checkpoint import checkpoint_steps
from semivl_cli.engine.rundir.layout import checkpoint_folder


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    for run in parser.parse_args().runs:
        steps = checkpoint_steps(run)
        if not steps:
            parser.error(f"{run} holds no complete checkpoint")
        for file in ("model.safetensors", "training.safetensors"):
            digest = hashlib.sha256()
            for name, tensor in sorted(load_file(checkpoint_folder(run, steps[-1]) / file).items()):
                digest.update(name.encode() + tensor.numpy().tobytes())
            print(f"{digest.hexdigest()}  {run} step {steps[-1]} {file}")


if __name__ == "__main__":
    main()
