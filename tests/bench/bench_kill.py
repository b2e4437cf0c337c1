"""Kill commands, repeat them, and compare the end with what nobody disturbed, bit for bit.

    python tests/bench/bench_kill.py --kills 20          # at random moments
    python tests/bench/bench_kill.py --every             # before every change to a file, one after the other
    python tests/bench/bench_kill.py --every --full-disk # likewise, but the disk is full instead
    python tests/bench/bench_kill.py --of prepare        # a conversion instead of a training; also predict, report

Each command runs in a fork of this process, so that torch is imported once; the kill is a real SIGKILL.
"""

import argparse
import errno
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # forked threads do not live on

import numpy as np
from PIL import Image
from safetensors.numpy import load_file
from typer.main import get_command

from semivl_cli.cli import app
from semivl_cli.engine.train import start  # noqa: F401  (imports torch here, once)
from semivl_cli.report import page  # noqa: F401

STEPS = 8
SETTINGS = [
    *("--dataset", "folder", "--root", "street", "--definition", "street.toml", "--labels", "3", "--recipe", "tiny"),
    *("--set", "data.crop=32", "--set", "data.scale_range=[0.8,1.2]", "--set", "evaluation.short_side=36"),
    *("--set", "evaluation.stride=24", "--set", f"training.steps={STEPS}", "--set", "training.batch=2"),
    *("--set", "training.save_steps=2", "--set", "training.evaluate_steps=3", "--set", "training.log_steps=3"),
    *("--set", "guidance.lambda_DC=[0.1,0.0]", "--set", "data.workers=0", "--device", "cpu"),
]
TIMES = ("seconds", "images_per_second")


def write_street(folder):
    """Write 10 small images of two sizes, 8 of them with a mask: the left half is 0, the right half 1."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / "street" / name).mkdir(parents=True)
    for i in range(10):
        height, width = (40, 60) if i % 2 else (72, 50)
        image = rng.integers(0, 100, (height, width, 3), dtype=np.uint8)
        image[:, width // 2 :, 0] += 150
        mask = np.zeros((height, width), np.uint8)
        mask[:, width // 2 :] = 1
        Image.fromarray(image).save(folder / "street" / "images" / f"{i}.png")
        if i < 8:
            Image.fromarray(mask).save(folder / "street" / "masks" / f"{i}.png")
    (folder / "street" / "val.txt").write_text("0\n1\n")
    (folder / "street.toml").write_text(
        'title = "Street"\n[[class]]\nname = "road"\ncolor = "#804080"\n'
        '[[class]]\nname = "car"\ncolor = "#000080"\nconcepts = ["car", "van"]\n'
    )


class Watcher:
    """Counts what is about to change in a folder; before change number `at` it kills the process or fills the disk."""

    EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree")

    def __init__(self, folder, at, full_disk):
        self.folders, self.at, self.full_disk = (str(folder), str(Path(folder).absolute())), at, full_disk
        self.count, self.full = 0, False

    def __call__(self, event, arguments):
        if event not in self.EVENTS or not str(arguments[0] or "").startswith(self.folders):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        self.count += 1
        if self.full_disk:
            self.full = self.full or self.count == self.at
            if self.full and event in ("open", "os.mkdir"):  # a full disk still lets files go
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), arguments[0])
        elif self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


def semivl(arguments, folder, *, watched="run", at=0, full_disk=False, kill_after=None, with_signal=signal.SIGKILL):
    """Run a command line in a fork; returns its exit code (-9: killed), what it said, the changes it made."""
    said, changes = folder / "said.txt", folder / "changes.txt"
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        number = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(number, 1)
        os.dup2(number, 2)
        watcher = Watcher(watched, at, full_disk)
        sys.addaudithook(watcher)
        code = 99
        try:
            get_command(app).main(arguments, standalone_mode=False)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            if watcher.at == 0:
                changes.write_text(str(watcher.count))
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, with_signal)
    _, status = os.waitpid(child, 0)
    count = int(changes.read_text()) if changes.exists() else 0
    return os.waitstatus_to_exitcode(status), said.read_text(), count


def end_of(run):
    """Everything that must not depend on interruptions."""
    folder = run / "checkpoints" / str(STEPS)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    state = json.loads((folder / "state.json").read_text())
    return {
        "model": load_file(folder / "model.safetensors"),
        "training": load_file(folder / "training.safetensors"),
        "metrics": [{key: value for key, value in line.items() if key not in TIMES} for line in lines],
        "scores": json.loads((run / "scores.json").read_text()),
        "status": json.loads((run / "run.json").read_text()),
        "state": {key: value for key, value in state.items() if key != "seconds"},
        # Which checkpoint is the one before the last depends on whether a signal asked for one of its own.
        "files": sorted(
            str(path.relative_to(run))
            for path in run.rglob("*")
            if path.is_file() and path.name != ".lock" and path.parent.parent.name != "checkpoints"
        ),
        "report": (run / "report.html").is_file(),
    }


def differences(a, b):
    """Name what differs between two ends."""
    found = [key for key in a if key not in ("model", "training", "files") and a[key] != b[key]]
    found += [f"file {name}" for name in sorted(set(a["files"]) ^ set(b["files"]))]
    for key in ("model", "training"):
        if a[key].keys() != b[key].keys():
            found.append(f"{key}: names")
        else:
            found += [f"{key}: {name}" for name in a[key] if a[key][name].tobytes() != b[key][name].tobytes()]
    return found


def go_on(folder):
    """Start the run, or resume it if it got as far as that; what a killed start left is in nobody's way."""
    return ["train", "--resume", "--out", "run"] if (folder / "run" / "run.toml").exists() else START


START = ["train", *SETTINGS, "--out", "run"]
OTHERS = {
    "prepare": (["prepare", "data", "folder", "--root", "colors", "--definition", "street.toml"], "colors/prepared"),
    "predict": (["predict", "street/images", "--out", "out", "--run", "reference", "--overlay"], "out"),
    "report": (["eval", "reference", "--report"], "reference"),
}
"""Commands that are repeated when they were disturbed, and where they write."""


def write_colors(folder):
    """Write the masks of the street as colours, so that they must be converted."""
    shutil.copytree(folder / "street" / "images", folder / "colors" / "images")
    (folder / "colors" / "masks").mkdir()
    colors = np.array([(128, 64, 128), (0, 0, 128)], np.uint8)
    for path in (folder / "street" / "masks").iterdir():
        with Image.open(path) as mask:
            Image.fromarray(colors[np.array(mask)]).save(folder / "colors" / "masks" / path.name)


def held_by(folder):
    """What a folder holds: pixels of pictures, texts without times; and that nothing half-written is left."""
    held = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".png":
            with Image.open(path) as picture:
                held[name] = np.array(picture).tobytes()
        elif path.name == "index.jsonl":
            held[name] = path.read_text().splitlines()[1:]
        elif path.name == "report.html" or path.suffix in (".jpg", ".part"):
            held[name] = path.stat().st_size
    return held


def disturb_other(options):
    """Kill a command before each of its changes to files, or fill the disk there, repeat it, and compare the end."""
    words, place = OTHERS[options.of]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_street(folder)
        write_colors(folder)
        if options.of != "prepare":
            code, said, _ = semivl(["train", *SETTINGS, "--out", "reference"], folder, watched="reference")
            assert code == 0, said
        code, said, changes = semivl(words, folder, watched=place)
        assert code == 0, said
        expected = held_by(folder / place)
        print(f"undisturbed: {changes} changes to files, {len(expected)} files")
        wrong = disturbances = 0
        for at in range(1, changes + 1, options.stride):
            if options.of != "report":
                shutil.rmtree(folder / place)
            code, said, _ = semivl(words, folder, watched=place, at=at, full_disk=options.full_disk)
            disturbances += 1
            if options.full_disk and (code not in (0, 1, 2, 3) or "Traceback" in said):
                wrong += 1
                print(f"WRONG: change {at}, exit code {code}: {said.splitlines()[-3:]}")
            again, said, _ = semivl(words, folder, watched=place)
            if again or (held := held_by(folder / place)) != expected:
                wrong += 1
                names = (
                    [] if again else sorted(key for key in held.keys() | expected if held.get(key) != expected.get(key))
                )
                print(f"WRONG: change {at}, ended with {code}, then {again}: {names} {said.splitlines()[-1:]}")
        print(f"{disturbances} disturbances, {wrong} wrong ends")
    return int(wrong > 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--every", action="store_true", help="one disturbance before every change to a file")
    parser.add_argument("--stride", type=int, default=1, help="with --every: only each so many changes")
    parser.add_argument("--full-disk", action="store_true", help="instead of a kill, no file can be written any more")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--of", choices=("train", *OTHERS), default="train")
    options = parser.parse_args()
    if options.of != "train":
        return disturb_other(options)
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_street(folder)
        began = time.monotonic()
        code, said, changes = semivl(["train", *SETTINGS, "--out", "reference"], folder, watched="reference")
        length = time.monotonic() - began
        assert code == 0, said
        expected = end_of(folder / "reference")
        print(f"undisturbed: {length:.1f} s, {changes} changes to files")
        disturbances = wrong = 0
        places = list(range(1 + rng.randrange(options.stride), changes + 1, options.stride)) if options.every else []
        while places or (not options.every and disturbances < options.kills):
            if options.every:
                code, said, _ = semivl(START, folder, at=places.pop(0), full_disk=options.full_disk)
                disturbances += 1
                clear = code == 3 and said.splitlines()[-1].startswith("semivl: cannot write")
                if options.full_disk and code and not clear:  # 0: nothing more had to be written
                    wrong += 1
                    print(f"WRONG: change {disturbances}, exit code {code}: {said.splitlines()[-3:]}")
            while True:
                moment = None if options.every or disturbances >= options.kills else rng.uniform(0, 1.1 * length)
                kind = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
                code, said, _ = semivl(go_on(folder), folder, kill_after=moment, with_signal=kind)
                if moment is None or code == 0:
                    break
                disturbances += 1
            different = [f"exit code {code}: {said}"] if code else differences(expected, end_of(folder / "run"))
            wrong += bool(different)
            if different:
                print(f"WRONG after {disturbances} disturbances: {different}")
            shutil.rmtree(folder / "run")
        print(f"{disturbances} disturbances, {wrong} wrong ends, {time.monotonic() - began:.0f} s")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
