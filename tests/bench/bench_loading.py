"""Times what loading is made of, and batches by workers, batches ahead and transport, in one run so that ratios hold.

python tests/bench/bench_loading.py FOLDER_OF_IMAGES [--crop 512] [--batch 8] [--steps 12] [--workers 0 1 2]
"""

import argparse
import functools
import itertools
import json
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from semivl_cli.config import DataSettings
from semivl_cli.data.choose.index import Index
from semivl_cli.data.contract import Record
from semivl_cli.data.load import batches as loader
from semivl_cli.data.load.batches import train_batches
from semivl_cli.data.load.shared_memory import Transport
from semivl_cli.data.read.images import read_image
from semivl_cli.data.read.views import draw_view, view_image
from semivl_cli.settings_toml import resolve


class Plain:
    name = definition = recipe = "plain"

    def records(self, root, split):
        return ()

    def class_ids(self, raw):
        return raw


def zeros(path):
    with Image.open(path) as picture:
        return np.zeros((picture.height, picture.width), np.uint8)


def milliseconds(work, paths):
    seconds = []
    for path in paths:
        began = time.perf_counter()
        work(path)
        seconds.append(time.perf_counter() - began)
    return 1e3 * statistics.median(seconds)


def pillow(path, shrink=1):
    with Image.open(path) as picture:
        if shrink > 1:
            picture.draft("RGB", (picture.width // shrink, picture.height // shrink))
        picture.load()


def opencv(path):
    cv2.cvtColor(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def crop(path, side, base):
    image = read_image(path)
    rng = np.random.default_rng(0)
    view = draw_view(rng, image.shape[:2], DataSettings(crop=side, base_scale=base), 0.5)
    began = time.perf_counter()
    view_image(image, view)
    return time.perf_counter() - began


def parts(paths, arguments):
    """Print the milliseconds an image that each part takes."""
    for name, work in (
        ("decode, Pillow", pillow),
        ("decode, Pillow, half the size (draft: other pixels, so not used)", functools.partial(pillow, shrink=2)),
        ("decode, OpenCV", opencv),
        ("read_image: decode, EXIF, as an array", read_image),
    ):
        print(json.dumps({"part": name, "ms": round(milliseconds(work, paths), 2)}))
    for name, base in (("Pillow, the crop alone", None), ("OpenCV, the whole", [2048, 512])):
        seconds = statistics.median(crop(path, arguments.crop, base) for path in paths)
        print(json.dumps({"part": f"scale and crop, {name}", "ms": round(1e3 * seconds, 2)}))


def batches(index, arguments, workers, transport):
    """Return the seconds a batch, once the first ones have come."""
    loader.choose_transport = lambda *_: transport
    config = resolve(
        {
            "data": {"crop": arguments.crop, "workers": workers},
            "augment": {"flip": 0.5, "blur": 0.5, "partner": "same_image"},
            "training": {"batch": arguments.batch},
        }
    )
    made = train_batches(index, Plain(), ("nothing", "all"), config, range(arguments.steps + 4))
    with closing(made):
        for _ in itertools.islice(made, 4):
            pass
        began = time.perf_counter()
        count = sum(1 for _ in made)
        return (time.perf_counter() - began) / count


def main():
    cv2.setNumThreads(0)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--crop", type=int, default=512)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2])
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.folder.rglob("*") if path.suffix in (".jpg", ".png"))[:60]
    parts(paths, arguments)
    records = [Record(id=path.stem, image=path, label=functools.partial(zeros, path)) for path in paths]
    with tempfile.TemporaryDirectory() as folder:
        larger = Path(folder, "large.jpg")
        with Image.open(paths[0]) as picture:
            picture.convert("RGB").resize((2048, 1024)).save(larger, quality=90)
        for name, work in (("Pillow", pillow), ("OpenCV", opencv), ("read_image", read_image)):
            print(json.dumps({"part": f"2048 x 1024, {name}", "ms": round(milliseconds(work, [larger] * 20), 2)}))
    index = Index(labeled=tuple(records[:20]), unlabeled=tuple(records[20:]), val=(), notes=())
    alone = None
    for workers in arguments.workers:
        ways = (
            (Transport(), Transport(prefetch=1), Transport(prefetch=4), Transport(pipes=True))
            if workers
            else (Transport(),)
        )
        for transport in ways:
            seconds = batches(index, arguments, workers, transport)
            alone = alone or seconds
            row = {
                "workers": workers,
                "ahead": transport.prefetch,
                "pipes": transport.pipes,
                "ms": round(1e3 * seconds, 1),
            }
            print(json.dumps({**row, "times_as_fast_as_the_first": round(alone / seconds, 2)}))


if __name__ == "__main__":
    main()
