import pytest

from semivl_cli.data.annotation.exported_split import split_of_file, split_of_folders


@pytest.mark.parametrize(
    ("folders", "split"),
    [
        (["export", "train", "images"], "train"),
        (["images", "valid"], "val"),
        (["val2017"], "val"),
        (["data", "obj_train_data"], "train"),
        (["obj_Validation_data"], "val"),
        (["test", "train"], "train"),
        (["latest"], None),
        (["my-test"], None),
        ([], None),
    ],
)
def test_folders_of_exporters(folders, split):
    assert split_of_folders(folders) == split


@pytest.mark.parametrize(
    ("stem", "split"),
    [
        ("instances_train2017", "train"),
        ("instances_Validation", "val"),
        ("person-test", "test"),
        ("train", "train"),
        ("instances_default", None),
        ("annotations", None),
        ("latest", None),
        ("", None),
    ],
)
def test_files_of_exporters(stem, split):
    assert split_of_file(stem) == split
