"""The report is one page that needs nothing else, and says what is not there yet."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from semivl_cli.errors import InputError
from semivl_cli.report.page import duration, percent, write_report

from .conftest import SHAPES, write_definition, write_finished, write_metrics, write_run


class Page(HTMLParser):
    """Collects the text a reader sees, the tags, and whatever the page would fetch."""

    VOID = ("meta", "br", "img", "link", "hr", "input")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        assert self.open == [], "every tag is closed"

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href", "xlink:href", "srcset")]

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href", "xlink:href", "srcset")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def report(run) -> Page:
    path = write_report(run)
    assert path == run / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_the_head_of_a_finished_run_says_what_it_is(finished):
    text = report(finished).text
    for words in (
        "finished after 300 steps",
        "dataset shapes",
        "method semivl",
        "fidelity published",
        "seed 0",
        "weights plugin:clip.safetensors",
        "mIoU, last 52.3 % step 300",
        "mIoU, best 53.8 % step 250, selected on val",
        "Labelled 12",
        "Unlabelled 188",
        "Steps 300 of 300",
        "cdcdcdcd",
        "train-0007",
        "training.batch 4",
        "guidance.lambda_DC [1.0, 0.0]",
    ):
        assert words in text


def test_each_class_has_its_scores_and_concepts(finished):
    text = report(finished).text
    assert "round 63.4 63.4 disc · ring" in text
    assert "heart \N{EN DASH} \N{EN DASH} heart" in text


def test_the_page_holds_the_same_sheet_that_lies_beside_it_and_fetches_nothing(finished):
    page = report(finished)
    (picture,) = [source for source in page.sources if not source.startswith("#")]
    data = base64.b64decode(picture.removeprefix("data:image/png;base64,"))
    assert data == (finished / "examples.png").read_bytes()
    with Image.open(io.BytesIO(data)) as sheet:
        assert np.asarray(sheet).shape[2] == 3
    html = (finished / "report.html").read_text()
    assert "script" not in page.tags and "link" not in page.tags
    assert not re.search(r"@import|url\((?!#)", html)


def test_a_young_run_says_what_is_missing(young):
    text = report(young).text
    for words in ("no checkpoint yet", "No examples yet", "No measurements yet", "No scores yet", "No split yet"):
        assert words in text
    assert not (young / "examples.png").exists()


def test_a_run_with_nothing_but_nan_still_renders(young):
    (young / "metrics.jsonl").write_text('{"step": 0, "kind": "train", "loss": NaN, "images_per_second": NaN}\n')
    scores = {"last": {"miou": float("nan"), "iou": {"round": float("nan")}, "step": 0}}
    (young / "scores.json").write_text(json.dumps(scores))
    text = report(young).text
    assert "mIoU, last \N{EN DASH} %" in text
    assert "nan" not in text.lower()


def test_what_does_not_occur_is_marked_and_both_means_stand_there(finished):
    text = report(finished).text
    assert "step 300; 62.8 % over the 5 of 6 classes that occur" in text
    assert "\N{EN DASH}: no pixel of the validation images is labelled so" in text
    assert "what does not occur counts as 0: 62.8 %" in text


def test_where_all_classes_occur_or_nobody_counted_nothing_is_said_of_it(finished):
    scores = json.loads((finished / "scores.json").read_text())
    for last in ({**scores["last"], "iou": dict.fromkeys(SHAPES, 0.5)}, {**scores["last"], "miou_present": None}):
        (finished / "scores.json").write_text(json.dumps({"last": last}))
        assert "classes that occur" not in report(finished).text


def test_an_unfinished_run_says_where_it_stands(finished):
    (finished / "run.json").write_text(json.dumps({"last": 120, "best": 100, "finished": False}))
    text = report(finished).text
    assert "not finished: saved at step 120" in text and "Steps 120 of 300" in text


def test_time_is_shown_where_the_run_measured_it(young):
    (young / "metrics.jsonl").write_text('{"step": 9, "kind": "train", "seconds": 143.4, "images_per_second": 16.78}\n')
    assert "Time 2 min 23 s 16.8 images/s" in report(young).text


def test_whatever_comes_from_the_users_files_is_text(tmp_path):
    evil = '<script>alert("x")</script><b>&'
    run = tmp_path / "run"
    write_run(run, f"dataset = '{evil}'\nmethod = '{evil}'\n'{evil}' = '{evil}'\n")
    write_definition(run, {evil: ("#000000", [evil]), "犬": ("#ffffff", ["'犬"])}, title=evil)
    iou = {evil: 0.5, "犬": 0.25}
    (run / "scores.json").write_text(json.dumps({"last": {"miou": 0.4, "iou": iou, "step": 1, "selected_on": evil}}))
    split = {"labeled": [evil], "unlabeled": {"count": 0, "sha256": evil}, "val": [], "sha256": evil}
    (run / "split.json").write_text(json.dumps(split))
    page = report(run)
    assert "script" not in page.tags and "b" not in page.tags
    assert page.text.count(evil) >= 8
    assert "犬" in page.text


def test_a_hundred_and_fifty_classes_fit(young):
    write_metrics(young)
    names = [f"class number {k}" for k in range(150)]
    write_definition(young, {name: (f"#{k:02x}{255 - k:02x}80", [name, "other"]) for k, name in enumerate(names)})
    iou = {name: k / 150 for k, name in enumerate(names)}
    (young / "scores.json").write_text(json.dumps({"last": {"miou": 0.5, "iou": iou, "step": 300}}))
    page = report(young)
    assert all(page.text.count(name) >= 2 for name in names)  # a bar and a line of the table


def test_the_same_run_gives_the_same_page(tmp_path):
    first, second = (write_report(write_finished(tmp_path / folder / "run")).read_bytes() for folder in "ab")
    assert first == second


def test_nothing_but_the_report_and_the_sheet_is_written(finished):
    before = {path.name for path in finished.iterdir()}
    write_report(finished)
    assert {path.name for path in finished.iterdir()} - before == {"report.html", "examples.png"}


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no run directory"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (143, "2 min 23 s"), (7384, "2 h 3 min")]
)
def test_durations_are_written_for_people(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("share", "words"), [(0.52341, "52.3"), (1.0, "100.0"), (0, "0.0"), (float("nan"), "\N{EN DASH}")]
)
def test_shares_become_percent(share, words):
    assert percent(share) == words
