"""Reads JSON, YAML and TOML, whoever wrote them, as the type that the code expects, or says in one line what is wrong.

Behind this door no code asks again whether a key is there or a number is one.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Hashable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from semivl_cli.errors import InputError
from semivl_cli.limits import DOCUMENT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_HALF = re.compile(r"\\[uU](?:0000)?[dD][89a-fA-F]")
_CHAIN = re.compile(r"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){200}""")
"""Keys joined by dots without end: each is a table in a table, and `tomllib` keeps all ways to them."""
_SHOWN = 60
"""Characters of a wrong value that a message shows."""


class Document(BaseModel):
    """Base of what files hold: types are strict (no `"5"` for 5, no NaN), keys that nobody asks for are left out."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)


def _plain_id(value: object) -> object:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    return value


Id = Annotated[int | str, BeforeValidator(_plain_id)]
"""What tools number things with; `"7"` and 7.0 (which tables of Pandas hold) are 7."""


def _plain_label(value: object) -> object:
    return str(value) if type(value) is int else value


Label = Annotated[str, BeforeValidator(_plain_label)]
"""What tools call classes, be it by a number."""
Point = Annotated[list[float], Field(min_length=2, max_length=2)]
"""x and y."""


def decode_text(data: bytes, name: str) -> str:
    """Return UTF-8 text, with or without a byte-order mark; raises `InputError` naming the first wrong byte."""
    DOCUMENT.check(len(data) / 2**20, name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: expected text in UTF-8 ({error.reason} at byte {error.start})") from error


def read_bytes(path: Path) -> bytes:
    """Return the content of a text file.

    Raises:
        InputError: it is not there, cannot be read, or is larger than `DOCUMENT`.
    """
    try:
        DOCUMENT.check(path.stat().st_size / 2**20, str(path))
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{path}: the file cannot be read ({getattr(error, 'strerror', None) or error})") from error


def load_json(data: bytes | str, name: str) -> object:
    """Return what JSON text holds, whatever that is; raises `InputError` where it is no JSON."""
    text = decode_text(data, name) if isinstance(data, bytes) else data
    try:
        content: object = json.loads(text, object_pairs_hook=_keys_once)
    except (ValueError, RecursionError) as error:  # ValueError also for numbers of thousands of digits
        raise InputError(f"{name}: not JSON: {_said(error)}") from error
    return _whole_characters(content, text, name)


def load_yaml(data: bytes | str, name: str) -> object:
    """Return what YAML text holds; dates stay text. Raises `InputError` where it is no YAML, or has aliases."""
    text = decode_text(data, name) if isinstance(data, bytes) else data
    try:
        content: object = yaml.load(text, _YAML)
    except (yaml.YAMLError, ValueError, RecursionError, AttributeError) as error:
        raise InputError(f"{name}: not YAML: {_said(error)}") from error
    return _whole_characters(content, text, name)


def load_toml(data: bytes | str, name: str) -> dict[str, Any]:
    """Return the tables of TOML text; raises `InputError` where it is no TOML."""
    text = decode_text(data, name) if isinstance(data, bytes) else data
    try:
        return tables_of(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise InputError(f"{name} is not valid TOML: {_said(error)}") from error


def tables_of(text: str) -> dict[str, Any]:
    """Return the tables of TOML text.

    Raises:
        ValueError: it is no TOML (`tomllib.TOMLDecodeError`), or a number in it has thousands of digits.
        RecursionError: lists or tables within each other without end.
    """
    if _CHAIN.search(text):
        raise RecursionError
    return tomllib.loads(text)


def parse_json(data: bytes | str, expected: type[T], name: str) -> T:
    """Return JSON text as the type that is expected (a `Document`, or `list[...]` of them).

    Raises:
        InputError: it is no JSON or something else; names the place, what stands there, and what was expected.
    """
    return as_type(load_json(data, name), expected, name)


def read_json(path: Path, expected: type[T]) -> T:
    """Read a JSON file as the type that is expected; raises `InputError` as `read_bytes` and `parse_json` do."""
    return parse_json(read_bytes(path), expected, str(path))


def as_type(content: object, expected: type[T], name: str) -> T:
    """Return what JSON, YAML or TOML held as the type that is expected; raises `InputError` as `parse_json` does."""
    try:
        checked: T = _adapter(cast("Hashable", expected)).validate_python(content)
    except (ValidationError, RecursionError) as error:
        raise InputError(f"{name}: {_explain(error) if isinstance(error, ValidationError) else 'nested'}") from error
    return checked


def _keys_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object, and refuse one that has a key twice: nobody can tell which counts."""
    table = dict(pairs)
    if len(table) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice[:_SHOWN]!r} is twice in one object")
    return table


def _whole_characters(content: object, text: str, name: str) -> object:
    """Refuse texts with half a character, which no file can be named after and no line can show.

    What Python makes of bytes of a name that are no UTF-8 (U+DC80 to U+DCFF) is the name of a file, and stays.
    """
    stack = [content] if _HALF.search(text) else []
    while stack:
        one = stack.pop()
        if isinstance(one, Mapping):
            stack += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            stack += one
        elif isinstance(one, str) and not one.isascii() and _HALVES.search(one):
            raise InputError(f"{name}: {one[:_SHOWN]!r} holds half a character: it was cut in the middle of one")
    return content


@cache
def _adapter(expected: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - any type
    return TypeAdapter(expected)


class _YAML(yaml.SafeLoader):
    """YAML of settings: no aliases, which can stand for more than memory holds, no dates, and no key twice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not read: write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[tuple[str, str]] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in seen:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: the key {key.value[:_SHOWN]!r} is there twice")
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


_YAML.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _explain(error: ValidationError) -> str:
    """Say where the first mistake is, what was expected, and what stands there."""
    details = error.errors(include_url=False)
    first = details[0]
    same = [one for one in details if one["loc"][:-1] == first["loc"][:-1] and one["input"] is first["input"]]
    union = len(same) > 1 and first["type"] != "missing"  # pydantic adds a member's name to the place of each
    path = _place(first["loc"][:-1] if union else first["loc"])
    if first["type"] == "missing":
        lacking = [one["loc"][-1] for one in same if one["type"] == "missing"]
        kind = "a list" if isinstance(lacking[0], int) else "an entry"
        return f"{_place(first['loc'][:-1]) or 'the top'}: expected {kind} with {' and '.join(map(str, lacking))}"
    if first["type"] == "value_error":
        return f"{path + ': ' if path else ''}{first['msg'].removeprefix('Value error, ')}"
    if not union and not first["msg"].startswith("Input should be "):
        return f"{path or 'the top'}: {first['msg'][0].lower()}{first['msg'][1:]}"
    wanted = " or ".join(dict.fromkeys(_wanted(one["msg"]) for one in same)) if union else _wanted(first["msg"])
    return f"{path or 'the top'}: expected {wanted}, got {_shown(first['input'])}"


def _wanted(message: str) -> str:
    text = message.removeprefix("Input should be ").replace("valid integer", "whole number").replace("a valid ", "a ")
    return text.partition(" or instance of ")[0].replace("dictionary", "table of keys")


def _place(parts: tuple[int | str, ...]) -> str:
    keys = [part for part in parts if isinstance(part, int) or "[" not in part]  # others name members of unions
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in keys)
    return text.removeprefix(".")[:200]


def _shown(value: object) -> str:
    if isinstance(value, Mapping | list | BaseModel):
        return "a list" if isinstance(value, list) else "a table of keys"
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _said(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "it is nested without end"
    text = " ".join(str(error).split())
    return "a number has thousands of digits" if "integer string conversion" in text else text
