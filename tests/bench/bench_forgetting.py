"""What fine-tuning leaves of CLIP's language: `python tests/bench/bench_forgetting.py RUN... [--images 120]`.

Reads the validation images with the frozen CLIP as guidance does (Sec. 3.5), once as it was and once with the encoder
of each run's newest checkpoint in its place, by the words of the run. Prints the mIoU in % of both and, over the runs,
its mean.
"""

import argparse
from pathlib import Path

import torch

from semivl_cli.data.load.samples import val_samples
from semivl_cli.engine.assemble import Inherited, build_guide, clip_of, open_material
from semivl_cli.engine.device import pick_device
from semivl_cli.engine.infer.metrics import class_iou, confusion
from semivl_cli.engine.rundir.checkpoint import checkpoint_steps, load_checkpoint
from semivl_cli.engine.rundir.layout import read_config
from semivl_cli.reporter import Silence


@torch.inference_mode()
def miou(guide, material, config, images, device):
    names = material.definition.names
    matrix = torch.zeros(len(names), len(names), dtype=torch.int64)
    records = list(material.index.val)[:images]
    short_side = config.evaluation.short_side
    for _, image, label in val_samples(records, material.dataset, names, short_side=short_side, workers=0):
        pixels = torch.from_numpy(image)[None].permute(0, 3, 1, 2).to(device)
        matrix += confusion(guide(pixels).label[0].cpu(), torch.from_numpy(label), len(names))
    return 100 * float(class_iou(matrix).mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    device, after = pick_device(arguments.device), []
    for run in arguments.runs:
        config = read_config(run)
        material = open_material(config, Inherited(run=run))
        guide = build_guide(config, clip_of(config, material.dataset, Silence()), material.definition).to(device)
        before = miou(guide, material, config, arguments.images, device)
        trained = load_checkpoint(run, checkpoint_steps(run)[-1]).model.encoder
        guide.encoder.load_state_dict(trained.state_dict())
        after.append(miou(guide, material, config, arguments.images, device))
        print(f"{run}: {before:.1f} before, {after[-1]:.1f} after")
    print(f"mean after: {sum(after) / len(after):.1f}")


if __name__ == "__main__":
    main()
