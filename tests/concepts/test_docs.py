"""The page about definitions keeps up with the code."""

import re
from pathlib import Path

from semivl_cli.concepts.load import parse_definition, shipped
from semivl_cli.concepts.problems import CODES

PAGE = Path(__file__).parents[2].joinpath("docs", "definitions.md").read_text(encoding="utf-8")


def test_every_code_is_explained_once_in_order():
    assert re.findall(r"^\| `([a-z-]+)` \| (?:error|warning) \|", PAGE, re.MULTILINE) == list(CODES)


def test_the_example_is_a_good_file():
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert parse_definition(example, "definitions.md").names == ("background", "chair", "dining table")


def test_every_shipped_definition_is_named():
    assert [name for name in shipped() if f"`{name}`" not in PAGE] == []
