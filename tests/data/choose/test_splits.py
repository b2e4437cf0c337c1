import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from semivl_plugins.folder import Folder
from semivl_plugins.voc import VOC

from semivl_cli.data.choose.splits import choose_labeled, cover
from semivl_cli.data.contract import Record
from semivl_cli.errors import InputError
from semivl_cli.labels_option import read_labels


def choose(world, labels, seed=0):
    dataset = Folder()
    train = tuple(dataset.records(world.root, "train"))
    return choose_labeled(dataset, train, read_labels(labels).amount, seed=seed, class_names=world.names)


def ids(choice):
    labeled, _ = choice
    return [record.id for record in labeled]


def test_all_takes_every_mask(world):
    assert ids(choose(world, "all")) == [f"m{number:02d}" for number in range(12)]


@pytest.mark.parametrize("seed", range(6))
def test_a_draw_covers_the_classes_and_depends_on_the_seed_alone(world, seed):
    drawn = ids(choose(world, "2", seed))
    assert len(drawn) == 2
    assert "m07" in drawn  # the only image that shows a car
    assert drawn == ids(choose(world, "2", seed))


def test_seeds_draw_different_images(world):
    assert len({tuple(ids(choose(world, "3", seed))) for seed in range(10)}) > 3


def test_a_draw_says_what_it_leaves_out(world):
    world.add("m20", ids=(2,))
    (world.root / "masks" / "m07.png").unlink()
    _, note = choose(world, "1")
    assert note.startswith("1 labels: drawn with seed 0")
    assert note.endswith("except car")


def test_fractions_are_of_the_training_images_and_rounded_up(world):
    assert len(ids(choose(world, "1/8"))) == 3  # of 17
    assert len(ids(choose(world, "0.2"))) == 4
    assert len(ids(choose(world, ".06"))) == 2


def test_a_list_of_ids_is_taken_as_it_is(world, tmp_path):
    (tmp_path / "mine.txt").write_text("m03\r\n\r\nm01\r\n")
    assert ids(choose(world, str(tmp_path / "mine.txt"))) == ["m01", "m03"]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("13", "13 labelled images are asked for, but only 12"),
        ("1/1", "17 labelled images are asked for, but only 12"),
        ("0", "expected all, a count of at least 1"),
        ("0.0", "a fraction up to 1"),
        ("3/2", "a fraction up to 1"),
        ("1/0", "a fraction up to 1"),
        ("-3", "expected all, a count of at least 1"),
        ("some", "expected all, a count of at least 1"),
        ("", "expected all, a count of at least 1"),
    ],
)
def test_what_cannot_be_is_said(world, labels, message):
    with pytest.raises(InputError, match=message):
        choose(world, labels)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("m01\nx9\n", "1 of 2 ids are no training image, the first is 'x9'"),
        ("v0\n", "1 of 1 ids are no training image, the first is 'v0'"),
        ("m01\nu2\n", "1 of 2 images have no mask, the first is 'u2'"),
        ("\n", "is empty"),
    ],
)
def test_a_list_must_name_masks(world, tmp_path, content, message):
    (tmp_path / "mine.txt").write_text(content)
    with pytest.raises(InputError, match=message):
        choose(world, str(tmp_path / "mine.txt"))


def test_without_any_mask_nothing_can_be_chosen(world):
    with pytest.raises(InputError, match="none of the 1 training images"):
        choose_labeled(Folder(), [Record(id="a", image=world.root)], "all", seed=0, class_names=world.names)


@pytest.mark.parametrize(("labels", "count"), [("92", 92), ("1/115", 92), ("1/58", 183), ("1/7", 1464), ("2/14", 1464)])
def test_counts_and_fractions_of_the_paper_mean_the_protocols_lists(tmp_path, labels, count):
    for folder in ("JPEGImages", "SegmentationClassAug"):
        (tmp_path / folder).mkdir()
    train = tuple(VOC().records(tmp_path, "train"))
    labeled, note = choose_labeled(VOC(), train, read_labels(labels).amount, seed=0, class_names=("background",))
    assert len(labeled) == count
    assert "the protocol's own list" in note


@given(st.data())
def test_a_cover_has_the_count_and_every_class_where_it_can(data):
    images, classes = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 6))
    shows = np.array(
        data.draw(
            st.lists(st.lists(st.booleans(), min_size=classes, max_size=classes), min_size=images, max_size=images)
        )
    )
    count = data.draw(st.integers(1, images))
    chosen = cover(shows, count)
    assert len(set(chosen.tolist())) == count
    occurring = shows.any(axis=0)
    if count >= occurring.sum():
        assert np.array_equal(shows[chosen].any(axis=0), occurring)
    else:  # each image adds at least one class
        assert shows[chosen].any(axis=0).sum() >= count
