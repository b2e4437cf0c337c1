"""What goes to stdout."""

import json
import os

import pytest

from semivl_cli.cli.console import print_json, print_json_line


@pytest.mark.parametrize("show", [print_json, print_json_line])
def test_a_file_name_that_is_no_utf8_is_printed_and_read_back(capfdbinary, show):
    name = os.fsdecode(b"caf\xe9 \xc3\xa9.png")
    show({"image": name})
    out = capfdbinary.readouterr().out.decode()
    assert "é" in out and json.loads(out) == {"image": name}
