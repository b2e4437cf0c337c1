import pytest
from hypothesis import given
from hypothesis import strategies as st

from semivl_cli.data.annotation.image_names import ImageNames
from semivl_cli.data.formats.mask_names import Affixes, image_of, layer_of, shared_affixes

STEMS = st.text("abc_0", min_size=1, max_size=6).filter(lambda name: name.strip("_"))


@pytest.mark.parametrize(
    ("images", "masks", "expected"),
    [
        (["a", "b"], ["a_mask.gif", "b_mask.gif"], Affixes("_mask", "")),
        (["d/a_01", "d/a_11"], ["d/a_01_mask.png", "d/a_11_mask.png"], Affixes("_mask", "")),
        (["a_sat", "b_sat"], ["a_mask.png", "b_mask.png"], Affixes("_mask", "_sat")),
        (["x_0_leftImg8bit", "x_1_leftImg8bit"], ["x_0_gtFine_labelIds.png", "x_1_gtFine_labelIds.png"],
         Affixes("_gtFine_labelIds", "_leftImg8bit")),
        (["a", "b", "c"], ["a_mask.png", "b_mask.png", "z_mask.png"], Affixes("_mask", "")),
        (["a", "b"], ["a_mask.png", "b_label.png"], None),
        (["a", "b"], ["x_mask.png", "y_mask.png"], None),
        (["a", "b"], [], None),
    ],
)  # fmt: skip
def test_what_all_names_end_in_is_found(images, masks, expected):
    assert shared_affixes(masks, ImageNames(images)) == expected


@given(st.lists(STEMS, min_size=1, max_size=5, unique=True), st.sampled_from(["_mask", "-seg", ".label", "_a_b"]))
def test_what_is_found_leads_every_mask_to_its_image(stems, ending):
    images = ImageNames(stems)
    found = shared_affixes([f"{stem}{ending}.png" for stem in stems], images)
    assert found is not None
    assert [image_of(f"{stem}{ending}.png", found) for stem in stems] == [f"{stem}.png" for stem in stems]


def test_a_name_that_ends_otherwise_or_is_the_ending_alone_has_no_image():
    assert image_of("d/a_mask.png", Affixes("_mask", "_sat")) == "d/a_sat.png"
    assert image_of("a_color.png", Affixes("_mask")) is None
    assert image_of("d/_mask.png", Affixes("_mask")) is None


def test_a_class_that_is_called_like_a_folder_of_images_is_not_meant_by_it():
    names = ["road", "train"]
    assert layer_of("train/a.png", names, ImageNames(["a"])) == ("a", "train")
    assert layer_of("train/masks/a.png", names, ImageNames(["export/train/images/a"])) is None


@pytest.mark.parametrize("name", ["a_big_dog.png", "a-Big-Dog.png", "Big Dog/a.png", "big_dog_a.png", "a/BIG DOG.png"])
def test_a_class_in_a_name_is_compared_as_labels_are(name):
    image, label = layer_of(name, ["dog", "Big-Dog"], ImageNames(["a", "b"]))
    assert (image, label) == ("a", "Big-Dog")


def test_accents_of_a_class_in_a_name_may_be_decomposed():
    assert layer_of("a_Ba\u0308ume.png", ["B\u00e4ume"], ImageNames(["a"])) == ("a", "B\u00e4ume")


def test_a_name_that_may_be_two_classes_or_two_images_tells_none():
    assert layer_of("a_b.png", ["a", "b"], ImageNames(["a", "b"])) is None
    assert layer_of("a_big_dog.png", ["big dog", "Big-Dog"], ImageNames(["a"])) is None
    assert layer_of("a_Big-Dog.png", ["big dog", "Big-Dog"], ImageNames(["a"])) == ("a", "Big-Dog")
