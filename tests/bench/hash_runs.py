"""SHA-256 of all tensors of runs, to prove that no number changed: `python tests/bench/hash_runs.py RUN...`."""

import hashlib
import sys
from pathlib import Path

from safetensors.torch import load_file

from semivl_cli.engine.rundir.checkpoint import checkpoint_steps

if __name__ == "__main__":
    for run in map(Path, sys.argv[1:]):
        step = checkpoint_steps(run)[-1]
        for file in ("model.safetensors", "training.safetensors"):
            digest = hashlib.sha256()
            for name, tensor in sorted(load_file(run / "checkpoints" / str(step) / file).items()):
                digest.update(name.encode() + tensor.numpy().tobytes())
            print(f"{digest.hexdigest()}  {run} step {step} {file}")
