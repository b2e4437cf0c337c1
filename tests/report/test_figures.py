"""Charts hold the run's numbers, survive holes in them and follow the page's colours."""

import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semivl_cli.report.figures import POINTS, class_bars, curves, shorten
from semivl_cli.report.run import read_run

from .conftest import SHAPES, write_definition, write_metrics


def write_scores(run, iou, miou=0.5):
    (run / "scores.json").write_text(json.dumps({"last": {"miou": miou, "iou": iou, "step": 10}}))


def texts(svg):
    return ["".join(node.itertext()) for node in ElementTree.fromstring(svg).iter() if node.tag.endswith("text")]


def test_each_curve_names_its_lines_and_their_latest_values(finished):
    charts = {chart.title: chart for chart in curves(read_run(finished))}
    assert len(charts) == 4
    latest = {line.name: line.latest for chart in charts.values() for line in chart.series}
    assert latest["lambda_DC"] == "0"
    assert re.fullmatch(r"9\d\.\d %", latest["accepted pseudo-labels that are right"])
    colors = [line.variable for line in charts["Loss terms"].series]
    assert len(set(colors)) == len(colors) == 4


def test_the_mean_of_what_occurs_has_a_line_where_something_does_not(young):
    iou = {"round": 0.5, "heart": None}
    lines = [{"step": k, "kind": "eval", "miou": 0.25, "miou_present": 0.5, "iou": iou} for k in (1, 2)]
    (young / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (chart,) = curves(read_run(young))
    assert [(line.name, line.latest) for line in chart.series] == [
        ("mIoU", "25.0 %"),
        ("mean over the classes that occur", "50.0 %"),
    ]


def test_a_value_that_the_run_does_not_measure_has_no_line(young):
    (young / "metrics.jsonl").write_text(
        '{"step": 0, "kind": "train", "L_s": 1.0}\n{"step": 1, "kind": "train", "L_s": 0.5}\n'
    )
    (chart,) = curves(read_run(young))
    assert [(line.name, line.latest) for line in chart.series] == [("labelled images, L_s", "0.5")]


def test_nan_infinity_and_null_are_holes(young):
    values = ["NaN", "1.5", "Infinity", "null", "-Infinity"]
    lines = [f'{{"step": {k}, "kind": "train", "loss": {value}}}\n' for k, value in enumerate(values)]
    (young / "metrics.jsonl").write_text("".join(lines))
    (chart,) = curves(read_run(young))
    assert chart.series[0].latest == "1.5"
    assert not re.search(r"\b(nan|inf)\b", chart.svg, re.IGNORECASE)


def test_only_nan_draws_nothing(young):
    (young / "metrics.jsonl").write_text('{"step": 0, "kind": "train", "loss": NaN}\n')
    assert curves(read_run(young)) == ()


def test_a_long_log_draws_no_more_points_than_a_short_one(young):
    write_metrics(young, steps=POINTS - 1, every=1)
    short = curves(read_run(young))[0]
    write_metrics(young, steps=5000, every=2)
    long = curves(read_run(young))[0]
    assert len(long.svg) < 1.2 * len(short.svg)


def test_bars_stand_from_best_to_worst_with_their_numbers(young):
    write_scores(young, dict(zip(SHAPES, [0.1, 0.9, 0.5, None, 0.0, 1.0], strict=True)))
    assert texts(class_bars(read_run(young)).svg) == [
        *("heart", "100.0", "round", "90.0", "polygon", "50.0", "background", "10.0", "arrow", "0.0"),
        *("cross", "not in the validation images"),
    ]


def test_bars_keep_the_colours_of_the_classes(young):
    write_definition(young, {"a": ("#0072b2", ["a"]), "b": ("#123456", ["b"])})  # the first is also a chart's blue
    write_scores(young, {"a": 0.5, "b": 0.5})
    svg = class_bars(read_run(young)).svg
    assert "fill: #0072b2" in svg and "fill: #123456" in svg


@pytest.mark.parametrize("name", ["<b>&", "$x$ % \\frac", "犬と猫", "two\nlines", '"quoted"', "x" * 300])
def test_odd_class_names_are_drawn_as_they_are(young, name):
    write_definition(young, {name: ("#123456", ["a"])})
    write_scores(young, {name: 0.5})
    shown = texts(class_bars(read_run(young)).svg)[0]
    assert shown == " ".join(name.split()) or (len(shown) < 30 and name.startswith(shown.rstrip("…")))


def test_no_scores_no_bars(young):
    assert class_bars(read_run(young)) is None


def test_charts_take_their_colours_from_the_style_sheet_and_ask_for_nothing(finished):
    run = read_run(finished)
    for chart in (*curves(run), class_bars(run)):
        assert chart.svg.startswith("<svg ") and "var(--quiet" in chart.svg
        assert 'href="http' not in chart.svg and "url(http" not in chart.svg


@given(text=st.text(max_size=30), length=st.integers(1, 40))
def test_shortened_text_is_one_line_and_no_longer_than_asked(text, length):
    shortened = shorten(text, length)
    assert "\n" not in shortened and len(shortened) <= length
    assert shortened == " ".join(text.split()) or shortened.endswith("…")


def test_importing_the_charts_starts_no_window_toolkit():
    check = "import sys, semivl_cli.report.page; print({'matplotlib.pyplot', 'torch', 'cv2'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True).stdout == "set()\n"


def test_a_name_that_is_no_utf8_can_be_drawn():
    assert shorten("caf\udce9.png", 20) == "caf\\udce9.png"
