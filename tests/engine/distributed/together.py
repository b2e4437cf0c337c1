"""Run by test_group.py: the same small trainings in 1, 2 and 4 processes; torch is imported once, then forked."""

import os
import socket
import sys
import traceback
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
from test_step import SETTINGS, batch, build, replace

from semivl_cli.config import resolve
from semivl_cli.data.contract import Record
from semivl_cli.engine.distributed import gradients as exchanging
from semivl_cli.engine.distributed.batchnorm import synchronize
from semivl_cli.engine.distributed.gradients import Exchange
from semivl_cli.engine.distributed.group import joined
from semivl_cli.engine.infer.validation import measure_iou
from semivl_cli.engine.infer.windows import Inference
from semivl_cli.engine.train.step import part_of, train_step
from semivl_cli.reporter import Silence

exchanging.BUCKET_BYTES = 2000  # the tiny model makes many parcels
STEPS, BATCH = 2, 6
CASES = {
    "same image": (replace(SETTINGS, guidance_reduction="mean"), True, 1, False),
    "groups across processes": (replace(SETTINGS, group=3, mode="pixelratio"), True, 1, False),
    "pairs": (SETTINGS, False, 2, False),
    "groups of pixelavg": (replace(SETTINGS, mode="pixelavg", group=2), True, 2, False),
    "BatchNorm": (replace(SETTINGS, group=1), True, 1, True),
}


def training(team, case, dtype, micro_batch=BATCH, fails=False):
    """Some steps; returns weights, running statistics and losses, or `None` where the batch has too few parts."""
    settings, partner, unit, detail = CASES[case]
    if BATCH // unit < team.count:
        return None
    model, guide = build(detail)
    model.to(dtype), guide.to(dtype)
    synchronize(model, team)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    positions = team.share(BATCH, unit)
    exchange = Exchange(team, list(model.parameters()), BATCH, positions)
    x, u = batch(BATCH, partner, (16, 8, 6) if detail else (8, 8, 6))
    x, u = part_of(x, positions), part_of(u, positions)
    if fails:
        fall_short_once(model)
    losses = []
    for _ in range(STEPS):
        exchange.begin()
        for size in (micro_batch, unit):
            optimizer.zero_grad(set_to_none=True)
            try:
                seen = train_step(model, guide, x, u, settings, 0.3, size, None, exchange)
                break
            except torch.OutOfMemoryError:
                assert fails
        optimizer.step()
        names = ("loss", "L_s", "L_u", "guidance", "pseudo_labels", "guidance_pixels")
        losses.append(team.total(torch.stack([seen[name].double() for name in names])))
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


def scores(team, images):
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
        team=team,
    )
    return found.as_dict()


def work(team):
    found = {case: training(team, case, torch.float64) for case in CASES}
    found["float32"] = training(team, "same image", torch.float32)
    # One process computes its share image by image, another runs out of memory in the middle of a backward pass.
    found["uneven parts"] = training(team, "same image", torch.float64, micro_batch=1 + team.rank)
    found["short memory"] = training(team, "same image", torch.float64, fails=team.rank == 1)
    found["scores"] = [scores(team, 11), scores(team, 2)]
    model, _ = build()
    if team.rank == 1:
        with torch.no_grad():
            model.decoder.head.bias += 1
    found["unlike"] = team.unlike(model), team.unlike(model), float(model.decoder.head.bias)
    wishes = [team.agree_to_stop(2 if step == 3 and team.rank == team.count - 1 else None) for step in range(6)]
    found["wishes"] = wishes
    found["told"] = team.tell({"rank": team.rank}), team.least(5 - team.rank)
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
                    with joined() as team:
                        torch.save(work(team), out / f"{count}-{rank}.pt")
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
