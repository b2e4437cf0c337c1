"""The protocol's lists that the four benchmarks ship: complete, without repetition, apart, and named by the paper."""

from fractions import Fraction
from importlib.resources import files
from pathlib import Path

import pytest

from semivl_cli.data.choose.index import list_records
from semivl_cli.data.choose.splits import choose_labeled
from semivl_cli.data.contract import Record
from semivl_cli.data.ids import read_ids
from semivl_cli.data.registry import open_dataset
from semivl_cli.errors import InputError
from semivl_cli.labels_option import read_labels

# The columns of Tables 1, 3, 4 and 5.
PAPER = {
    "voc": {"1/115": 92, "1/58": 183, "1/29": 366, "1/14": 732, "1/7": 1464},
    "coco": {"1/512": 232, "1/256": 463, "1/128": 925, "1/64": 1849, "1/32": 3697},
    "ade20k": {"1/128": 158, "1/64": 316, "1/32": 632, "1/16": 1263, "1/8": 2526},
    "cityscapes": {"1/30": 100, "1/16": 186, "1/8": 372, "1/4": 744, "1/2": 1488},
}
SIZES = {"voc": (10_582, 1_449), "coco": (118_287, 5_000), "ade20k": (20_210, 2_000), "cityscapes": (2_975, 500)}


def lists(name):
    return Path(str(files("semivl_plugins"))) / name / "splits"


def trained(name):
    """The training records: those of a list, all numbers of ADE20K, or for COCO what the lists themselves name."""
    if (lists(name) / "train.txt").is_file():
        ids = read_ids(lists(name) / "train.txt")
    elif name == "ade20k":
        ids = [f"ADE_train_{number:08d}" for number in range(1, 20_211)]
    else:
        named = {one for path in lists(name).glob("labeled-*.txt") for one in read_ids(path)}
        ids = sorted(named | {f"{number:012d}" for number in range(900_000, 900_000 + SIZES[name][0] - len(named))})
    return tuple(Record(id=one, image=Path("i"), label=Path("l")) for one in ids)


@pytest.mark.parametrize("name", PAPER)
def test_every_column_of_the_paper_has_its_list(name):
    found = {int(path.stem.removeprefix("labeled-")): read_ids(path) for path in lists(name).glob("labeled-*.txt")}
    assert set(found) == set(PAPER[name].values())
    train, val = trained(name), read_ids(lists(name) / "val.txt")
    assert (len(train), len(val)) == SIZES[name]
    assert not {record.id for record in train} & set(val)
    for count, ids in found.items():
        assert len(ids) == len(set(ids)) == count
        assert set(ids) <= {record.id for record in train}
        assert not set(ids) & set(val)


@pytest.mark.parametrize("name", PAPER)
def test_counts_and_the_fractions_of_the_paper_mean_the_same_lists(name):
    train = trained(name)
    for fraction, count in PAPER[name].items():
        by_count, by_fraction = (
            choose_labeled(open_dataset(name), train, read_labels(labels).amount, seed=0, class_names=())
            for labels in (str(count), fraction)
        )
        assert [record.id for record in by_count.labeled] == [record.id for record in by_fraction.labeled]
        assert {record.id for record in by_count.labeled} == set(read_ids(lists(name) / f"labeled-{count}.txt"))
        assert by_count.note == f"{count} labels: the protocol's own list"


def test_another_fraction_is_rounded_up_and_a_decimal_may_head_a_column(tmp_path):
    train = trained("cityscapes")
    dataset = open_dataset("cityscapes")
    chosen = choose_labeled(dataset, train, Fraction(1, 2), seed=0, class_names=())
    assert len(chosen.labeled) == 1488
    assert Fraction(2975, 1488) < 2  # rounding alone would give the same; 1/30 would not:
    assert len(choose_labeled(dataset, train, Fraction(1, 30), seed=0, class_names=()).labeled) == 100
    ids = tmp_path / "ids.txt"
    ids.write_text(f"{train[5].id}\n{train[2].id}\n")
    chosen = choose_labeled(dataset, train, ids, seed=0, class_names=())
    assert [record.id for record in chosen.labeled] == [train[2].id, train[5].id]


def test_an_overlap_of_train_and_val_is_refused(tmp_path):
    class Overlapping:
        def records(self, root, split):
            return [Record(id="a", image=Path("i")), Record(id=split, image=Path("i"))]

    with pytest.raises(InputError, match="1 ids are in both train and val, for example 'a'"):
        list_records(Overlapping(), tmp_path)
