"""What a step keeps for its gradient, by setting: `python tests/bench/bench_memory.py [--clip ViT-B-16] [--cuda]`.

Without `--cuda` nothing is computed: fake tensors go through a whole step, and the bytes that autograd would keep are
counted (each storage once, without parameters). With `--cuda` the peak of the allocator is measured as well, over a
real step with the optimizer. Prints one JSON object a line; the message "out of memory" quotes `of_default`.
"""

import argparse
import json
from contextlib import nullcontext

import torch
from bench_step import batch, build, gradients, settings
from torch._subclasses.fake_tensor import FakeTensorMode

from semivl_cli.engine.train.guidance_labels import make_targets
from semivl_cli.engine.train.optim import build_optimizer
from semivl_cli.engine.train.step import step_losses

VARIANTS = [
    {"what": "default"},
    {"what": "micro_batch halved", "batch": 2},
    {"what": "checkpoint_activations", "recompute": True},
    {"what": "bf16", "bf16": True},
    {"what": "bf16 and checkpoint_activations", "bf16": True, "recompute": True},
    {"what": "crop 384", "crop": 384},
    {"what": "crop 256", "crop": 256},
]


def fake(model, mode):
    """Let a model compute nothing but shapes."""
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            held.update({name: mode.from_tensor(value) for name, value in held.items() if value is not None})


def kept_bytes(model, x, u, targets, config, cast):
    """Bytes that autograd keeps for one backward pass."""
    own = {parameter.untyped_storage()._cdata for parameter in (*model.parameters(), *model.buffers())}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), cast:
        step_losses(model, x, u, targets, config, 0.1)
    return sum(size for size, _ in kept.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", default="ViT-B-16")
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--cuda", action="store_true")
    arguments = parser.parse_args()
    default = {}
    for variant in VARIANTS:
        arguments.crop, arguments.batch = variant.get("crop", 512), variant.get("batch", 4)
        cast = torch.autocast("cpu", dtype=torch.bfloat16) if "bf16" in variant else nullcontext()
        device = torch.device("cpu")
        model, spec, guide = build(arguments, device)
        model.train().checkpoint_activations("recompute" in variant)
        with FakeTensorMode() as mode:
            fake(model, mode)
            fake(guide, mode)
            x, u = batch(arguments, spec, device)
            config = settings(arguments)
            targets = make_targets(guide, x, u, config, 1)
            found = {"kept_gib": kept_bytes(model, x, u, targets, config, cast) / 2**30}
        if arguments.cuda:
            found["cuda_peak_gib"] = cuda_peak(arguments, variant)
        default = default or found
        ratios = {name: round(value / default[name], 2) for name, value in found.items()}
        print(json.dumps({"what": variant["what"], "images": arguments.batch, **found, "of_default": ratios}))


def cuda_peak(arguments, variant):
    device = torch.device("cuda")
    config = settings(arguments, "bf16" if "bf16" in variant else "fp32")
    model, spec, guide = build(arguments, device)
    model.train().checkpoint_activations("recompute" in variant)
    optimizer = build_optimizer(model, config.optimizer)
    x, u = batch(arguments, spec, device)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        optimizer.zero_grad(set_to_none=True)
        gradients(model, guide, x, u, config, arguments.batch)
        optimizer.step()
    return torch.cuda.max_memory_allocated() / 2**30


if __name__ == "__main__":
    main()
