import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semivl_cli.data.ids import read_ids
from semivl_cli.errors import InputError

NAMES = st.lists(st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_./ -]{0,10}[A-Za-z0-9_]", fullmatch=True), unique=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(names=NAMES, end=st.sampled_from(["\n", "\r\n", "\n\n", " \n"]), mark=st.booleans())
def test_lists_come_back_whatever_the_line_ends(tmp_path, names, end, mark):
    path = tmp_path / "list.txt"
    path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + "".join(name + end for name in names).encode())
    assert read_ids(path) == tuple(names)


def test_ids_listed_twice_are_refused(tmp_path):
    (tmp_path / "list.txt").write_text("a\nb\na\n")
    with pytest.raises(InputError, match="1 ids are listed twice, the first is 'a'"):
        read_ids(tmp_path / "list.txt")


def test_what_is_no_text_is_refused(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "list.txt", tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="expected a text file of ids"):
            read_ids(path)


@pytest.mark.parametrize("content", [b"a\xffb\n", b"\xff\xfe\x00"])
def test_the_wrong_byte_of_a_list_is_named(tmp_path, content):
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(InputError, match=r"list\.txt: expected text in UTF-8 \(.* at byte \d\)"):
        read_ids(tmp_path / "list.txt")
