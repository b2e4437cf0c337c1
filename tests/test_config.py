import pytest

from semivl_cli.config import RunConfig
from semivl_cli.errors import InputError
from semivl_cli.labels_option import Labels
from semivl_cli.settings_toml import parse_assignments, parse_toml, resolve, to_toml


def test_pixelavg_needs_whole_groups_at_once():
    settings = parse_assignments(["consistency.mode=pixelavg", "loss.group=4", "training.micro_batch=2"])
    with pytest.raises(InputError, match="multiple of 4"):
        resolve(settings)


def test_none_is_the_word_none_in_files_and_none_in_python():
    assert resolve(parse_assignments(["training.epochs=none", "training.steps=5"])).training.epochs is None
    with pytest.raises(InputError, match="both none"):
        resolve(parse_assignments(["training.epochs=none"]))
    written = parse_toml(to_toml(RunConfig()), "run.toml")
    for name in ("data.root", "data.definition", "data.base_scale", "model.detail", "training.steps"):
        section, key = name.split(".")
        assert written[section][key] == "none"
        assert getattr(getattr(RunConfig(), section), key) is None
    assert written["recipe"] == "none"


def test_labels_may_be_written_as_a_number():
    assert resolve(parse_assignments(["data.labels=92"])).data.labels == Labels("92", 92)
