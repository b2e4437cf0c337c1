"""What a run would teach itself: `python tests/bench/bench_pseudo_labels.py RUN... [--images 100] [--device D]`.

Takes training images that the run saw without their masks, lets its newest checkpoint label them, keeps the pixels
whose confidence reaches `consistency.tau`, and compares these with the masks after all. Prints a Markdown table, the
mean over the runs: the share of the pixels of each class that is accepted, the share of what is accepted that is right,
and how many pixels are taught as this class for each one that is of it.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from semivl_cli.data.load.samples import val_samples
from semivl_cli.engine.assemble import Inherited, open_material
from semivl_cli.engine.device import pick_device, to_device
from semivl_cli.engine.infer.windows import Inference, class_scores, scores_at
from semivl_cli.engine.rundir.checkpoint import checkpoint_steps, load_checkpoint
from semivl_cli.engine.rundir.layout import read_config


def count(run, images, device):
    """Return float [3, N]: accepted share, precision and taught pixels per true pixel, of each class; and the names."""
    config = read_config(run)
    stored = load_checkpoint(run, checkpoint_steps(run)[-1])
    model = to_device(stored.model, device).eval()
    material = open_material(config, Inherited(run=run))
    dataset, names = material.dataset, material.definition.names
    labeled = {record.id for record in material.index.labeled}
    train = dataset.records(material.root, "train")
    hidden = [r for r in train if r.id not in labeled and r.label is not None][:images]
    how = Inference(config, stored.spec.smallest)
    true, taught, right = (np.zeros(len(names)) for _ in range(3))
    for _, image, label in val_samples(hidden, dataset, names, short_side=config.evaluation.short_side, workers=0):
        pixels = torch.from_numpy(image)[None].permute(0, 3, 1, 2).to(device)
        probabilities = scores_at(class_scores(model, pixels, how).float(), label.shape).softmax(dim=1)
        confidence, guess = (value[0].cpu().numpy() for value in probabilities.max(dim=1))
        accepted = (confidence >= config.consistency.tau) & (label < len(names))
        true += np.bincount(label[label < len(names)], minlength=len(names))
        taught += np.bincount(guess[accepted], minlength=len(names))
        right += np.bincount(guess[accepted & (guess == label)], minlength=len(names))
    return np.stack([right / true, right / np.maximum(taught, 1), taught / true]), names


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    counted = [count(run, arguments.images, pick_device(arguments.device)) for run in arguments.runs]
    mean = np.mean([found for found, _ in counted], axis=0)
    print("| | " + " | ".join(counted[0][1]) + " |")
    print("| --- " * (1 + mean.shape[1]) + "|")
    for title, row in zip(("accepted and right, % of the class", "right, % of accepted"), 100 * mean[:2], strict=True):
        print(f"| {title} | " + " | ".join(f"{value:.0f}" for value in row) + " |")
    print("| taught for each true pixel | " + " | ".join(f"{value:.2f}" for value in mean[2]) + " |")


if __name__ == "__main__":
    main()
