import pytest
from hypothesis import given
from hypothesis import strategies as st

from semivl_cli.config import RunConfig
from semivl_cli.errors import InputError
from semivl_cli.settings_toml import known_settings, merge, parse_assignments, parse_toml, read_toml, resolve, to_toml


def test_written_settings_read_back_the_same():
    config = resolve(parse_assignments(["training.steps=7", "data.base_scale=[2048,512]", "guidance.zeta=0.5"]))
    assert resolve(parse_toml(to_toml(config), "run.toml")) == config


def test_written_settings_hold_every_setting():
    written = parse_toml(to_toml(RunConfig()), "run.toml")
    for name in known_settings():
        section, _, key = name.partition(".")
        assert (key in written[section]) if key else (section in written), name


@pytest.mark.parametrize(
    ("assignment", "hint"),
    [
        ("training.stepz=3", "did you mean training.steps?"),
        ("optimizer.zeta=0.5", "did you mean guidance.zeta?"),
        ("training.steps=abc", "training.steps = 'abc': expected integer or 'none'"),
        ("model.detail=x", "'resnet' or 'none'"),
        ("guidance.zeta=2", "guidance.zeta = 2"),
        ("data.base_scale=[1]", "must hold 2 numbers"),
        ("training.batch=7", "must be even"),
        ("augment.cutmix_area=[0.4,0.02]", "smallest and the largest"),
        ("loss.group=3", "multiple of loss.group"),
        ("training.micro_batch=3", "multiple of training.micro_batch"),
        ("model.skips=[0]", "must name 2 block"),
        ("model=3", "model = 3"),
        ("nonsense", "expected name=value"),
        ("foo.bar=1", "unknown setting foo"),
    ],
)
def test_a_wrong_setting_is_one_line_that_says_what_to_do(assignment, hint):
    with pytest.raises(InputError) as error:
        resolve(parse_assignments([assignment]))
    assert hint in str(error.value)
    assert "\n" not in str(error.value)


tables = st.recursive(
    st.integers(),
    lambda inner: st.dictionaries(st.text("abc", min_size=1, max_size=2), inner, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict))


@given(tables, tables)
def test_merging_keeps_the_stronger_and_every_key(weak, strong):
    merged = merge(weak, strong)
    assert merged.keys() == weak.keys() | strong.keys()
    assert merge(merged, strong) == merged
    for key, value in strong.items():
        if not isinstance(value, dict) or not isinstance(weak.get(key), dict):
            assert merged[key] == value


@given(st.text(max_size=40))
def test_any_text_is_an_assignment_or_an_input_error(text):
    try:
        assert isinstance(parse_assignments([text]), dict)
    except InputError as error:
        assert "--set" in str(error)


def test_an_unreadable_settings_file_is_named(tmp_path):
    broken = tmp_path / "broken.toml"
    broken.write_text("a = [1\n")
    with pytest.raises(InputError, match=r"broken\.toml"):
        read_toml(broken)
    with pytest.raises(InputError, match=r"absent\.toml"):
        read_toml(tmp_path / "absent.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"binary\.toml"):
        read_toml(binary)
