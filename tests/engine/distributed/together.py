"""Run by test_group.py: the same small trainings in 1, 2 and 4 processes; torch is imported once, then forked."""

import os
import socket
import sys
import traceback
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
from tiny import batch, build, settings

from semivl_cli.data.contract import Record
from semivl_cli.engine.distributed import gradients
from semivl_cli.engine.distributed.batchnorm import convert_sync_batchnorm
from semivl_cli.engine.distributed.gradients import GradientBuckets
from semivl_cli.engine.distributed.join import joined
from semivl_cli.engine.infer.measure import measure_iou
from semivl_cli.engine.infer.windows import Inference
from semivl_cli.engine.train.accumulate import accumulate_gradients, part_of
from semivl_cli.engine.train.guidance_labels import make_targets
from semivl_cli.reporter import Silence
from semivl_cli.settings_toml import resolve

gradients.BUCKET_BYTES = 2000  # the tiny model makes many buckets
STEPS, BATCH = 2, 6
CASES = {
    "same image": {"guidance": {"reduction": "mean"}},
    "groups across processes": {"loss": {"group": 3}, "consistency": {"mode": "pixelratio"}},
    "pairs": {"augment": {"partner": "pair"}},
    "groups of pixelavg": {"loss": {"group": 2}, "consistency": {"mode": "pixelavg"}},
    "BatchNorm": {"loss": {"group": 1}, "model": {"detail": "resnet", "skips": [3]}},
}


def training(process_group, case, dtype, micro_batch=BATCH, fails=False):
    """Some steps; returns weights, running statistics and losses, or `None` where the batch has too few parts."""
    config = settings(BATCH, **CASES[case])
    unit, detail = config.micro_batch_unit, config.model.detail == "resnet"
    if BATCH // unit < process_group.world_size:
        return None
    model, guide = build(detail)
    model.to(dtype), guide.to(dtype)
    convert_sync_batchnorm(model, process_group)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    buckets = GradientBuckets(process_group, model.parameters())
    positions = process_group.rank_slice(BATCH, unit)
    x, u = batch(BATCH, config.augment.partner == "same_image", (16, 8, 6) if detail else (8, 8, 6))
    x, u = part_of(x, positions), part_of(u, positions)
    if fails:
        fall_short_once(model)
    losses = []
    for _ in range(STEPS):
        targets = make_targets(guide, x, u, config, micro_batch, process_group)
        for size in (micro_batch, unit):
            optimizer.zero_grad(set_to_none=True)
            try:
                seen = accumulate_gradients(model, x, u, targets, config, 0.3, size, buckets)
                break
            except torch.OutOfMemoryError:
                assert fails
        buckets.all_reduce()
        optimizer.step()
        names = ("loss", "L_s", "L_u", "guidance", "pseudo_labels", "guidance_pixels")
        losses.append(process_group.all_reduce(torch.stack([seen[name].double() for name in names])))
    return {"state": model.state_dict(), "losses": torch.stack(losses)}


def fall_short_once(model):
    """Run out of memory in the first backward pass, when the decoder's gradients have left already."""
    calls = []

    def fail(_):
        calls.append(1)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("out of memory")

    model.encoder.position_embedding.register_hook(fail)


class Pictures:
    """Eleven images of two sizes."""

    def class_ids(self, raw):
        return raw

    def records(self):
        rng = np.random.default_rng(0)
        for i in range(11):
            size = (16, 20) if i % 5 else (24, 16)
            image, label = rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 3, size, np.uint8)
            yield Record(id=str(i), image=lambda image=image: image, label=lambda label=label: label)


def scores(process_group, images):
    model, _ = build()
    records = list(Pictures().records())[:images]
    how = Inference(resolve({"data": {"crop": 16, "workers": 0}, "evaluation": {"stride": 8}}), at_once=2)
    found = measure_iou(
        model.float(),
        records,
        Pictures(),
        ["a", "b", "c"],
        how,
        step=1,
        reporter=Silence(),
        process_group=process_group,
    )
    return found.as_dict()


def work(process_group):
    found = {case: training(process_group, case, torch.float64) for case in CASES}
    found["float32"] = training(process_group, "same image", torch.float32)
    # One process computes its share image by image, another runs out of memory in the middle of a backward pass.
    found["uneven parts"] = training(process_group, "same image", torch.float64, micro_batch=1 + process_group.rank)
    found["short memory"] = training(process_group, "same image", torch.float64, fails=process_group.rank == 1)
    found["scores"] = [scores(process_group, 11), scores(process_group, 2)]
    model, _ = build()
    if process_group.rank == 1:
        with torch.no_grad():
            model.decoder.head.bias += 1
    differ = process_group.broadcast_weights(model), process_group.broadcast_weights(model)
    found["unlike"] = *differ, float(model.decoder.head.bias)
    last = process_group.rank == process_group.world_size - 1
    found["wishes"] = [process_group.agree_to_stop(2 if step == 3 and last else None) for step in range(6)]
    rank = process_group.rank
    found["broadcast"] = process_group.broadcast({"rank": rank}), process_group.all_reduce_min(5 - rank)
    return found


def main(out: Path) -> None:
    torch.set_num_threads(1)
    for count in (1, 2, 4):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        children = []
        for rank in range(count):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": str(rank)}
                    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
                    with joined() as process_group:
                        torch.save(work(process_group), out / f"{count}-{rank}.pt")
                    code = 0
                finally:
                    if code:
                        traceback.print_exc()
                    os._exit(code)
            children.append(child)
        if sum(os.waitpid(child, 0)[1] for child in children):
            sys.exit(f"a process of {count} failed")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
