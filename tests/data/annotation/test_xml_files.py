import pytest
from hypothesis import given
from hypothesis import strategies as st

from semivl_cli.data.annotation.xml_files import parse_xml
from semivl_cli.errors import InputError


def test_elements_texts_and_attributes_are_read():
    root = parse_xml(b'<?xml version="1.0" encoding="utf-8"?>\n<a x="1 &amp; 2"><b>t</b><b/></a>', "a.xml")
    assert (root.tag, root.get("x"), root.findtext("b"), len(root)) == ("a", "1 & 2", "t", 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.xml: not XML"),
        (b"<a><b></a>", "a.xml: not XML"),
        (b'<?xml version="1.0" encoding="none"?><a/>', "a.xml: not XML"),
        (b"<a>" * 200 + b"</a>" * 200, "nested more than 100 deep"),
        (b'<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z "&x;&x;">]><a>&z;</a>', "a document type .* is not read"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "a document type .* is not read"),
    ],
)
def test_what_is_no_plain_xml_is_one_line(content, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_xml(content, "a.xml")
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=60), st.text(max_size=20))
def test_bytes_of_any_kind_are_one_line_at_worst(raw, text):
    for content in (raw, b"<a>" + raw, f'<a b="{text}">{text}</a>'.encode(errors="replace")):
        try:
            parse_xml(content, "a.xml")
        except InputError as error:
            assert str(error).startswith("a.xml: ")
