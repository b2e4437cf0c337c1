"""What goes to stdout, and what is said of the progress."""

import json
import os

import pytest

from semivl_cli.cli import console
from semivl_cli.cli.console import ConsoleReporter, one_line, print_json


@pytest.mark.parametrize("indent", [1, None])
def test_a_file_name_that_is_no_utf8_is_printed_and_read_back(capfdbinary, indent):
    name = os.fsdecode(b"caf\xe9 \xc3\xa9.png")
    print_json({"image": name}, indent)
    out = capfdbinary.readouterr().out.decode()
    assert "é" in out and json.loads(out) == {"image": name}


def test_without_a_terminal_progress_is_lines_with_the_time_left(capsys, monkeypatch):
    monkeypatch.setattr(console, "LINE_SECONDS", 0.0)
    with ConsoleReporter() as reporter:
        reporter.start("train", 50, done=49)
        reporter.advance("train", 49, {})
        reporter.advance("train", 50, {"loss": 0.25, "images_per_second": 3.0})
        reporter.finish("train")
    assert capsys.readouterr().err.splitlines() == [
        "train 49/50, 0:00 left",
        "train 50/50, 0:00 left, loss 0.250  3.0 images/s",
    ]


def test_a_line_that_no_screen_shows_is_cut_in_its_middle():
    shown = one_line("a.json: " + "x" * 10**6 + ": do this")
    assert len(shown) < 10_000
    assert (shown[:10], shown[-9:]) == ("a.json: xx", ": do this")
    assert one_line("x" * 5000) == "x" * 5000


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("two\nlines.png", "two\\nlines.png"),
        ("\x1b[2Jclear.png", "\\x1b[2Jclear.png"),
        (os.fsdecode(b"caf\xe9.png"), "caf\\udce9.png"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("[red]é 犬[/red] :smile: 100%.png", "[red]é 犬[/red] :smile: 100%.png"),
    ],
)
def test_names_that_a_terminal_would_obey_are_written_out(capsys, name, shown):
    with ConsoleReporter() as reporter:
        reporter.note(f"{name}: no image")
    assert capsys.readouterr().err == f"{shown}: no image\n"
    assert one_line(name) == shown
