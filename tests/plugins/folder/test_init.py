import io
import json
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from semivl_plugins.folder import Folder

from semivl_cli.config import DataSettings
from semivl_cli.data.choose.index import build_index
from semivl_cli.engine.prepare.data import prepare_data
from semivl_cli.errors import InputError
from semivl_cli.reporter import Silence


def test_another_place_is_told_what_was_expected(tree):
    with pytest.raises(InputError, match=r"expected a folder with images/ and masks/ there, but images/ is absent"):
        list(Folder().records(tree / "images", "train"))


def test_a_training_reads_the_index_until_a_folder_changes(root, monkeypatch, look):
    look(root)
    assert "day2/x" not in {record.id for record in Folder().records(root, "train")}
    with monkeypatch.context() as patch:
        patch.setattr("semivl_plugins.folder.listing.os.scandir", lambda _: pytest.fail("the folders were walked"))
        assert len(list(Folder().records(root, "train"))) == 7
    (root / "images/day2").mkdir()
    os.link(root / "images/7.jpg", root / "images/day2/x.jpg")
    folder = Folder()
    assert "day2/x" in {record.id for record in folder.records(root, "train")}
    assert any("the index is not used" in note and "images is newer" in note for note in folder.notes)
    look(root)
    (root / "masks/day2").mkdir()
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(root / "masks/day2/x.png")
    assert "day2/x" in {record.id for record in Folder().records(root, "train") if record.label}


def test_converted_masks_that_are_out_of_date_are_refused(root, look):
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(root / "masks/0.png")
    look(root)
    assert len(list(Folder().records(root, "train"))) == 7
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(root / "masks/6.png")
    with pytest.raises(InputError, match=r"masks is not as it was .* run `semivl prepare data folder"):
        list(Folder().records(root, "train"))


def test_a_converted_dataset_that_was_moved_is_not_read_as_if_it_never_was(root, look, tmp_path):
    mask = Image.fromarray(np.resize(np.array([1, 0], np.uint8), (20, 30)))
    mask.putpalette([128, 64, 128, 0, 0, 0])  # the classes' colours in another order: its numbers are no ids
    for number in range(6):
        mask.save(root / f"masks/{number}.png")
    look(root)
    [before] = [record for record in Folder().records(root, "train") if record.id == "0"]
    moved = root.rename(tmp_path / "my data")
    with pytest.raises(InputError, match="was prepared in another place") as refused:
        list(Folder().records(moved, "train"))
    [command] = re.findall("`(.*)`", str(refused.value))
    assert shlex.split(command)[:6] == ["semivl", "prepare", "data", "folder", "--root", str(moved)]
    look(moved)
    [after] = [record for record in Folder().records(moved, "train") if record.id == "0"]
    assert after.label == moved / before.label.relative_to(root)


def test_a_moved_dataset_of_which_nothing_was_made_is_read_where_it_lies(root, look, tmp_path):
    look(root)
    assert len(list(Folder().records(root.rename(tmp_path / "moved"), "train"))) == 7


def rewrite(path, content):
    """Write a file in place, so that no folder changes."""
    path.write_bytes(content)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))  # clocks of files may stand still for some ms


def picture(color, size=(30, 20)):
    content = io.BytesIO()
    Image.new("RGB", size, color).save(content, "PNG")
    return content.getvalue()


def check(root):
    """Do what every start does with the masks that it reads."""
    folder = Folder()
    records = [record for split in ("train", "val") for record in folder.records(root, split)]
    folder.check_masks(records)
    return folder


def test_a_mask_that_was_rewritten_under_its_name_after_its_conversion_is_noticed(root, look):
    for name in ("0", "1"):
        rewrite(root / f"masks/{name}.png", picture((128, 64, 128)))
    look(root)
    check(root)
    rewrite(root / "masks/0.png", picture((0, 0, 0)))
    with pytest.raises(InputError, match=r"masks/0\.png is not as it was when the dataset was prepared") as refused:
        check(root)
    folder = Folder()
    folder.check_masks([record for record in folder.records(root, "train") if record.id != "0"])  # another run's
    assert shlex.split(str(refused.value).split("`")[1]) == ["semivl", "prepare", "data", "folder", "--root", str(root)]
    look(root)
    check(root)


def test_of_a_mask_a_class_every_part_is_watched(root, look):
    (root / "masks/0.png").unlink()
    for name in ("0_road", "0_background"):
        Image.fromarray(np.full((20, 30), 255, np.uint8)).save(root / f"masks/{name}.png")
    look(root)
    check(root)
    rewrite(root / "masks/0_background.png", (root / "masks/0_road.png").read_bytes())
    with pytest.raises(InputError, match=r"masks/0_background\.png is not as it was"):
        check(root)


def labelme(image, label="road"):
    shape = {"label": label, "shape_type": "rectangle", "points": [[2, 3], [9, 8]]}
    return json.dumps({"imagePath": image, "imageHeight": 20, "imageWidth": 30, "shapes": [shape]}).encode()


def changed_annotation(source):
    rewrite(source / "1.json", labelme("1.jpg", "background"))


def new_annotation(source):
    (source / "7.json").write_bytes(labelme("7.jpg"))


def changed_class_list(source):
    rewrite(source / "flags.txt", b"other")


def annotations_gone(source):
    shutil.rmtree(source)


@pytest.mark.parametrize("change", [changed_annotation, new_annotation, changed_class_list, annotations_gone])
def test_annotations_that_change_in_their_folder_are_noticed(root, look, tmp_path, change):
    source = tmp_path / "what they drew"
    source.mkdir()
    for name in ("0", "1", "2"):
        (root / f"masks/{name}.png").unlink()
        (source / f"{name}.json").write_bytes(labelme(f"{name}.jpg"))
    (source / "flags.txt").write_text("hidden")
    look(root, source)
    check(root)
    change(source)
    with pytest.raises(InputError, match="is not as it was when the dataset was prepared") as refused:
        check(root)
    assert str(refused.value).endswith(f"--root {root} --from '{source}'` again")


def test_the_command_that_is_advised_is_whole(root, tmp_path, monkeypatch):
    source, definition = tmp_path / "it's mine.json", tmp_path / "my words.toml"
    categories = [{"id": 1, "name": "road"}]
    entry = {"id": 1, "file_name": "6.jpg", "height": 20, "width": 30}
    ring = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[2, 3, 9, 3, 9, 8]]}
    source.write_text(json.dumps({"images": [entry], "categories": categories, "annotations": [ring]}))
    shutil.rmtree(root / "masks")
    (root / "masks").mkdir()
    definition.write_text(
        'title = "x"\n[[class]]\nname = "road"\ncolor = "#102030"\n[[class]]\nname = "car"\ncolor = "#000001"\n'
    )
    monkeypatch.chdir(tmp_path)
    flags = {"dataset": "folder", "data": {"root": "data", "definition": "my words.toml"}}
    prepare_data(flags, [Path("it's mine.json")], Silence())
    source.unlink()
    with pytest.raises(InputError, match="is not as it was") as refused:
        check(root)
    given = ["--root", str(root), "--definition", str(definition), "--from", str(source)]
    assert shlex.split(str(refused.value).split("`")[1]) == ["semivl", "prepare", "data", "folder", *given]


def test_masks_of_other_classes_are_refused_with_the_command_that_makes_them_anew(root, look):
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(root / "masks/0.png")
    look(root)
    with pytest.raises(InputError, match="class 1 was 'road', the definition has 'street'") as refused:
        build_index(Folder(), root, DataSettings(), seed=0, class_names=["background", "street"], definition="b c.toml")
    assert f"run `semivl prepare data folder --root {root} --definition 'b c.toml'`" in str(refused.value)
