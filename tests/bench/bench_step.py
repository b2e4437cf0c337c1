"""Speed of training and inference: `python tests/bench/bench_step.py [--device cuda] [--clip ViT-B-16] [--crop 512]`.

Random weights and random pixels: the work is the same as with real ones. Variants are timed in turn within one process,
so that their ratios hold on a machine whose speed drifts. Prints one JSON object a line.
"""

import argparse
import json
import statistics
import time
from contextlib import nullcontext

import torch

from semivl_cli.engine.device import to_device
from semivl_cli.engine.infer.windows import Inference, class_scores
from semivl_cli.engine.precedence import configure
from semivl_cli.engine.train.accumulate import accumulate_gradients
from semivl_cli.engine.train.guidance_labels import make_targets
from semivl_cli.engine.train.inputs import Labeled, Views, channel_dropout, cutmix
from semivl_cli.engine.train.optim import build_optimizer
from semivl_cli.model.build import encoder_spec, model_spec
from semivl_cli.model.clip import build_encoder, encoder_weights, load_clip
from semivl_cli.model.finetune import set_trainable
from semivl_cli.model.guidance import DenseClip
from semivl_cli.model.pixels import IMAGENET_STATISTICS
from semivl_cli.settings_toml import resolve


def settings(arguments, precision="fp32"):
    """The published settings of VOC."""
    sizes = [f"data.crop={arguments.crop}", f"training.batch={arguments.batch}"]
    return configure({"dataset": "voc"}, [*sizes, f"training.precision={precision}"])


def build(arguments, device):
    clip = load_clip(arguments.clip, "random")
    config = settings(arguments)
    spec = model_spec(config, clip.spec, IMAGENET_STATISTICS)
    model = spec.build(torch.randn(arguments.classes, spec.encoder.embed_dim))
    model.encoder.load_state_dict(encoder_weights(clip, spec.encoder))
    set_trainable(model.encoder, config.finetune)
    frozen = build_encoder(clip, encoder_spec(clip.spec, config.model, 512))
    text = torch.nn.functional.normalize(torch.randn(98, spec.encoder.embed_dim), dim=1)
    owners = [k % arguments.classes for k in range(98)]
    guide = DenseClip(frozen, text, owners, 100.0, IMAGENET_STATISTICS, "similarity")
    return to_device(model, device), spec, guide.to(device)


def images(arguments, device):
    shape = (arguments.batch, 3, arguments.crop, arguments.crop)
    return torch.randint(0, 256, shape, dtype=torch.uint8, device=device)


def batch(arguments, spec, device):
    def mask():
        return torch.rand(arguments.batch, arguments.crop, arguments.crop, device=device) < 0.2

    label = torch.randint(0, arguments.classes, mask().shape, dtype=torch.uint8, device=device)
    own, other = (Views(*(images(arguments, device) for _ in range(3)), ~mask()) for _ in range(2))
    channels = (*spec.decoder.skip_channels, spec.encoder.embed_dim)
    dropout = channel_dropout(0, 0, arguments.batch, channels, 0.5, device)
    return Labeled(image=images(arguments, device), label=label), cutmix(own, other, (mask(), mask()), dropout)


def gradients(model, guide, x, u, config, micro_batch):
    targets = make_targets(guide, x, u, config, micro_batch)
    accumulate_gradients(model, x, u, targets, config, 0.1, micro_batch)


def timed(work, device, repeats):
    seconds = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--clip", default="ViT-B-16")
    parser.add_argument("--crop", type=int, default=512)
    parser.add_argument("--classes", type=int, default=21)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--micro-batches", type=int, nargs="*", default=None)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    model, spec, guide = build(arguments, device)
    model.train()
    optimizer = build_optimizer(model, settings(arguments).optimizer)
    x, u = batch(arguments, spec, device)
    for micro in arguments.micro_batches or [arguments.batch]:
        for precision in ("fp32", "bf16"):
            config = settings(arguments, precision)

            def step(micro=micro, config=config):
                optimizer.zero_grad(set_to_none=True)
                gradients(model, guide, x, u, config, micro)
                optimizer.step()

            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            seconds = timed(step, device, arguments.repeats)
            peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
            row = {"what": "step", "precision": precision, "micro_batch": micro, "seconds": seconds, "peak_gib": peak}
            print(json.dumps({**row, "images_per_second": 2 * arguments.batch / seconds}))
    model.eval()
    how = Inference(resolve({"data": {"crop": arguments.crop}, "evaluation": {"stride": arguments.crop * 5 // 6}}))
    picture = torch.randint(0, 256, (1, 3, arguments.crop, arguments.crop * 4 // 3), dtype=torch.uint8, device=device)
    for precision in ("fp32", "bf16"):
        cast = nullcontext() if precision == "fp32" else torch.autocast(device.type, dtype=torch.bfloat16)

        def infer(cast=cast):
            with cast:
                class_scores(model, picture, how)

        seconds = timed(infer, device, arguments.repeats)
        print(json.dumps({"what": "inference", "precision": precision, "seconds": seconds, "size": picture.shape[2:]}))


if __name__ == "__main__":
    main()
