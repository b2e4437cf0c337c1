"""The commands of README and docs: every one is taken by the command line, and what can run here runs, in order."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command
from typer.testing import CliRunner

from semivl_cli.cli import app
from semivl_cli.settings_toml import known_settings

ROOT = Path(__file__).parents[2]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
EARLIER = ROOT / "tests" / "e2e" / "earlier_runs" / "shapes"
ELSEWHERE = re.compile(r"shards-|/data/|/archive/|/shared/|ViT-B|voc|cityscapes|dots|--gpus|--seeds|DATASET")
"""What no test has: shards, published images, other machines, weights of the hub, the plugin that a page builds."""


def fenced(page):
    """Return the commands that a page shows, as words, in order."""
    text = re.sub(r"\\\n\s*", " ", page)
    blocks = re.findall(r"```(?:console|bash)\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if not line.startswith("#")]
    found = (re.search(r"(?:^\$ |&& |^srun .*)\bsemivl (?!_cli)(.*)", line) for line in lines)
    return [shlex.split(match[1], comments=True) for match in found if match]


FENCED = [(name, words) for name, page in PAGES.items() for words in fenced(page)]
INLINE = sorted({(name, text) for name, page in PAGES.items() for text in re.findall(r"`semivl ([^`]+)`", page)})


def leaf(words):
    """Return the command that words begin with, and the words that are left."""
    command, words = get_command(app), list(words)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    return command, words


def test_pages_show_commands():
    assert len(FENCED) > 30 and len(INLINE) > 20


@pytest.mark.parametrize(
    ("page", "words"), FENCED, ids=lambda value: value if isinstance(value, str) else " ".join(value)
)
def test_every_command_is_taken_with_its_options_and_settings(page, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command, rest = leaf(words)
    assert not hasattr(command, "commands"), f"{page}: semivl {' '.join(words)} names no command"
    context = command.make_context(command.name, rest)  # raises what would be a mistake of the call
    for given in context.params.get("assignments") or ():
        assert given.partition("=")[0] in known_settings()


@pytest.mark.parametrize(("page", "text"), INLINE)
def test_what_pages_call_a_command_or_an_option_is_one(page, text):
    command, words = get_command(app), re.sub(r"\s*\\?\|\s*", "|", text).split()
    while words and hasattr(command, "commands"):
        names = words.pop(0).split("|")
        assert set(names) <= command.commands.keys(), f"{page}: `semivl {text}`"
        command = command.commands[names[0]]
    known = {option for one in command.params for option in one.opts} | {"--help"}
    options = {word.strip("[]").partition("=")[0] for word in words if word.strip("[]").startswith("--")}
    assert options <= known, f"{page}: `semivl {text}`"


def block(page, first_line):
    """Return the TOML block of a page that begins so."""
    return next(
        text for text in re.findall(r"```toml\n(.*?)```", PAGES[page], re.DOTALL) if text.startswith(first_line)
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder with all that the pages speak of."""
    here = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    for folder in ("my/images", "new_pictures", "images", "scenes", "photos"):
        (here / folder).mkdir(parents=True)
        for number in range(8 if folder == "my/images" else 2):
            noise = rng.integers(0, 255, (40, 60, 3), np.uint8)
            Image.fromarray(noise).save(here / folder / f"{number}.jpg")
    (here / "my/masks").mkdir()
    for number in range(5):
        mask = np.zeros((40, 60), np.uint8)
        mask[:, 20 + number :] = 1
        Image.fromarray(mask).save(here / "my/masks" / f"{number}.png")
    street = block("README.md", "# street.toml")
    (here / "street.toml").write_text(street)
    (here / "my.toml").write_text(street)
    (here / "my-classes.toml").write_text(block("definitions.md", 'title = "Pascal VOC 2012"'))
    shapes = (ROOT / "definitions" / "shapes.toml").read_text()
    (here / "mended.toml").write_text(shapes)
    for name in ("kinds.toml", "other.toml"):
        (here / name).write_text(shapes.replace('name = "polygon"', 'name = "square"'))
    (here / "annotations.json").write_text(
        '{"images": [{"id": 7, "file_name": "7.jpg", "height": 40, "width": 60}], "categories": [{"id": 3, "name":'
        ' "car"}], "annotations": [{"id": 1, "image_id": 7, "category_id": 3,'
        ' "segmentation": [[10, 5, 20, 5, 20, 15]]}]}'
    )
    (here / "list.txt").write_text("photos/0.jpg\n")
    shutil.copytree(EARLIER, here / "runs" / "shapes-12-1")
    return here


def runnable(words):
    asks_clip = {"embed", "preview", "score", "--zero-shot"} & set(words)
    here = not ELSEWHERE.search(" ".join(words)) and ("shapes" in words or not asks_clip)
    return here and words[0] in ("train", "prepare", "predict", "concepts")


@pytest.mark.usefixtures("plain_reports")
@pytest.mark.parametrize("page", [name for name in PAGES if any(runnable(words) for words in fenced(PAGES[name]))])
def test_what_can_run_here_runs(page, world, monkeypatch):
    monkeypatch.chdir(world)
    monkeypatch.setenv("COLUMNS", "200")
    for number, words in enumerate(fenced(PAGES[page])):
        if not runnable(words):
            continue
        done = CliRunner().invoke(app, [*words, *shortened(words, f"runs/{page}-{number}")])
        assert done.exit_code == 0, f"{page}: semivl {' '.join(words)}\n{done.output}"
        for line in told(PAGES[page], words):
            assert line in done.output.splitlines(), f"{page}: semivl {' '.join(words)} said\n{done.output}"


def shortened(words, out):
    """Return options that make a training one of seconds."""
    if words[0] == "train" and "folder" not in words:  # the demo is trained elsewhere
        return ["--print-config"]
    if words[0] == "train":
        small = ["training.steps=1", "training.batch=2", "data.crop=32", "evaluation.short_side=36", "data.workers=0"]
        return [*(word for setting in small for word in ("--set", setting)), "--recipe", "tiny", "--out", out]
    return []


def told(page, words):
    """Return what a page says that a command prints, where it shows the whole of it."""
    blocks = [text for text in re.findall(r"```console\n(.*?)```", page, re.DOTALL) if "\n$" in f"\n{text}"]
    for text in blocks:
        lines = text.splitlines()
        at = next(
            (
                n
                for n, line in enumerate(lines)
                if line[:9] == "$ semivl " and shlex.split(line[9:], comments=True) == words
            ),
            None,
        )
        if at is not None:
            rest = lines[at + 1 :]
            end = next((n for n, line in enumerate(rest) if line.startswith(("$", ">", " ", "^"))), len(rest))
            return rest[:end]
    return []
