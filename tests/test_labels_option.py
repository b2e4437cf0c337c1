from fractions import Fraction
from pathlib import Path

import pytest

from semivl_cli.errors import InputError
from semivl_cli.labels_option import read_labels
from semivl_cli.settings_toml import parse_toml, resolve, to_toml


@pytest.mark.parametrize(
    ("given", "word", "amount"),
    [
        ("all", "all", "all"),
        ("92", "92", 92),
        (92, "92", 92),
        ("1/8", "1/8", Fraction(1, 8)),
        ("2/16", "2/16", Fraction(1, 8)),
        ("0.10", "0.10", Fraction(1, 10)),
        (0.1, "0.1", Fraction(1, 10)),
        (".5", ".5", Fraction(1, 2)),
        ("1/016", "1/016", Fraction(1, 16)),
        ("1/ids.txt", "1/ids.txt", Path("1/ids.txt")),
        ("2024-01.txt", "2024-01.txt", Path("2024-01.txt")),
        ("absent.txt", "absent.txt", Path("absent.txt")),
    ],
)
def test_a_word_keeps_its_spelling_and_has_a_meaning(given, word, amount):
    labels = read_labels(given)
    assert (labels.word, labels.amount, str(labels)) == (word, amount, word)
    assert type(labels.amount) is type(amount)
    assert read_labels(labels) is labels


@pytest.mark.parametrize(
    "word",
    [
        *("0", "00", "0.0", "3/2", "1/0", "-3", "1e-3", 1e-5, "50%", "12.5", "1,000", "nan", "-inf", "1/8/2", "٣"),
        *("9" * 5000, "1/" + "9" * 5000, "0." + "0" * 5000 + "1", "x" * 5000),
    ],
)
def test_what_no_set_of_images_can_have_is_refused_with_the_word(word):
    with pytest.raises(InputError, match=f"labels '{str(word)[:60]}.*: expected all, a count") as refused:
        read_labels(word)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(("given", "shown"), [([1], r"\[1\]"), (True, "True")])
def test_what_is_no_word_is_refused_by_its_name(given, shown):
    with pytest.raises(InputError, match=rf"data\.labels = {shown} must be a count"):
        resolve({"data": {"labels": given}})


def test_a_file_is_named_by_its_whole_path_and_a_number_is_never_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("ids.txt", "92"):
        Path(name).write_text("a\n")
    config = resolve({"data": {"labels": "ids.txt"}})
    monkeypatch.chdir("/")
    again = resolve(parse_toml(to_toml(config), "run.toml"))
    assert again == config
    assert again.data.labels.amount == tmp_path.resolve() / "ids.txt"
    monkeypatch.chdir(tmp_path)
    assert read_labels("92").amount == 92
