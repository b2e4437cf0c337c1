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


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"training.steps = " + b"9" * 5000, "a number has thousands of digits"),
        (b"training.steps = " + b"9" * 4000, r"training.steps = 9+\.\.\.: expected"),
        (b"x = " + b"[" * 5000, "nested without end"),
        (b"x = " + b"[" * 100 + b"]" * 100, "lie 20 deep"),
        (b".".join([b"a"] * 150) + b" = 1", "lie 20 deep|nested without end"),  # as Python can hold
        (b".".join([b"a"] * 500) + b" = 1", "nested without end"),
        (b'data.root = "a\\u0000b"', "holds a NUL"),
        (b"\xff\xfe\x00", "expected text in UTF-8"),
        (b"training = 3", "expected a table of settings"),
        (b"optimizer.lr = inf", "finite"),
        (b"optimizer.lr = nan", "optimizer.lr = nan"),
        (b"seed = 99999999999999999999", "seed = 9"),
        (b"decoder.width = 1000000", "decoder.width = 1000000: expected"),
        (b"decoder.layers = 1000000000", "decoder.layers = 1000000000: expected"),
        (b"data.workers = 100000", "data.workers = 100000: expected"),
        (b"data.scale_range = [1e6, 1e6]", "data.scale_range = 1000000.0: expected"),
        (b"augment.cutmix_ratio = [1e-300, 1e300]", "augment.cutmix_ratio = 1e-300: expected"),
        (b"model.skips = [1, 1]", "expected 2 different blocks"),
        (b"data.crop = 100000", "SEMIVL_MAX_MEGAPIXELS"),
        (b"\n".join(b"setting%d = 1" % n for n in range(5000)), "and 4988 more|and 988 more"),
    ],
)
def test_a_hostile_settings_file_is_one_short_line(tmp_path, content, says):
    (tmp_path / "r.toml").write_bytes(content)
    with pytest.raises(InputError, match=says) as refused:
        resolve(read_toml(tmp_path / "r.toml"), source="r.toml")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 1000


def test_a_folder_in_the_place_of_a_settings_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="directory"):
        read_toml(tmp_path)


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 5000, "a\0b"])
def test_a_hostile_assignment_is_refused_as_what_it_is(text):
    with pytest.raises(InputError) as refused:
        resolve(parse_assignments([f"training.steps={text}"]))
    assert len(str(refused.value)) < 300
    with pytest.raises(InputError, match="--set"):
        parse_assignments([".".join(["a"] * 5000) + "=1"])
