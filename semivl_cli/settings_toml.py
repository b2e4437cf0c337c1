"""Layers of settings in TOML: read, merged, checked as a RunConfig with one line for all mistakes, and written."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from semivl_cli.config import NONE_WORD, RunConfig
from semivl_cli.documents import load_toml, read_bytes
from semivl_cli.errors import InputError

T = TypeVar("T")

Layer = dict[str, Any]
"""Nested settings as TOML gives them."""

_DEEPEST = 20
"""How deep settings lie at most; the configuration of a CLIP lies three deep."""
_TOLD = 12
"""Mistakes that one message names."""


def parse_toml(text: str | bytes, source: str) -> Layer:
    """Parse settings; raises `InputError` with the file's name and the place of the mistake."""
    settings = load_toml(text, source)
    if _depth(settings) > _DEEPEST:
        raise InputError(
            f"{source}: its tables lie {_DEEPEST} deep and more: expected settings, such as training.steps"
        )
    return settings


def read_toml(path: Path) -> Layer:
    """Read a settings file; raises `InputError` where it cannot be read."""
    return parse_toml(read_bytes(path), str(path))


def _depth(value: object) -> int:
    """Say how deep tables and lists lie in one another, as far as it matters."""
    depth, within = 0, [value]
    while within and depth <= _DEEPEST:
        depth += 1
        tables = [one for one in within if isinstance(one, dict | list)]
        within = [inner for one in tables for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


def read_settings(path: Path) -> tuple[Layer, Layer]:
    """Read a settings file, which may be the `run.toml` of a run: settings, and its table `[environment]`."""
    settings = read_toml(path)
    environment = settings.pop("environment", {})
    if not isinstance(environment, dict):
        raise InputError(f"{path}: environment = {environment!r} is no setting; in a run.toml it is a table")
    return settings, environment


def merge(*layers: Mapping[str, Any]) -> Layer:
    """Merge layers, later ones stronger; tables are merged key by key."""
    merged: Layer = {}
    for layer in layers:
        for key, value in layer.items():
            old = merged.get(key)
            merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def parse_assignments(assignments: Iterable[str]) -> Layer:
    """Turn `a.b=value` into a layer; the value is TOML, and what is no TOML is a string."""
    layer: Layer = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator or not key.strip() or key.count(".") >= _DEEPEST:
            raise InputError(f"--set {_shown(assignment)}: expected name=value, such as training.steps=100")
        try:
            value = parse_toml(f"value = {text}", "--set")["value"]
        except InputError:
            value = text.strip()
        for part in reversed(key.strip().split(".")):
            value = {part: value}
        layer = merge(layer, value)
    return layer


def resolve(*layers: Mapping[str, Any], source: str = "settings", also: Iterable[str] = ()) -> RunConfig:
    """Merge layers, later ones stronger, and check them; `also`: mistakes that were found before.

    Raises:
        InputError: one line that names every wrong setting, with the nearest known name for an unknown one.
    """
    lines = list(also)
    try:
        config = RunConfig.model_validate(merge(*layers))
    except ValidationError as error:
        problems: dict[str, list[str]] = {}  # what was given -> what was expected; a union has a line for each member
        for detail in error.errors()[:1000]:
            given, *expected = _explain(detail)
            problems.setdefault(given, []).extend(expected)
        lines = [*(given + " or ".join(dict.fromkeys(expected)) for given, expected in problems.items()), *lines]
    if lines:
        more = f"; and {len(lines) - _TOLD} more" if len(lines) > _TOLD else ""
        raise InputError(f"{source}: {'; '.join(lines[:_TOLD])}{more}")
    return config


def to_toml(config: RunConfig) -> str:
    """Write every setting, also those at their defaults."""
    return tomli_w.dumps(config.model_dump())


def known_settings() -> dict[str, FieldInfo]:
    """All settings by their dotted names."""
    found: dict[str, FieldInfo] = {}
    for name, field in RunConfig.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)  # of a section
        found |= {f"{name}.{key}": setting for key, setting in inner.items()} if inner else {name: field}
    return found


def _explain(detail: Any) -> tuple[str, ...]:  # noqa: ANN401 - pydantic's ErrorDetails
    """Say what was given and what was expected, maybe several things."""
    path = [str(part) for part in detail["loc"]]
    known = known_settings()
    while len(path) > 1 and ".".join(path) not in known and ".".join(path[:-1]) in known:
        path.pop()  # the member of a union or the index of a list
    name = ".".join(path)
    if detail["type"] == "extra_forbidden":
        same_key = [full for full in known if full.endswith("." + path[-1])]
        near = same_key or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        return f"unknown setting {name[:80]}", f" (did you mean {near[0]}?)" if near else ""
    if detail["type"] == "value_error":
        message = detail["msg"].removeprefix("Value error, ")
        return (f"{name} = {_shown(detail['input'])} " if name else ""), message
    if detail["type"] == "model_type":
        inner = next(full for full in known if full.startswith(f"{name}."))
        return f"{name} = {_shown(detail['input'])}: ", f"expected a table of settings, such as {inner}"
    wanted = detail["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    or_none = ("'none'",) if name in known and NONE_WORD in known[name].metadata else ()
    return f"{name} = {_shown(detail['input'])}: expected ", wanted, *or_none


def _shown(value: object) -> str:
    """Write what was given, as much of it as a line holds."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def unknown(kinds: Mapping[str, object], setting: str, kind: object) -> str | None:
    """Say that a plain dict knows no such `kind`, which `setting` names, and which it knows; `None` where it does."""
    if isinstance(kind, str) and kind in kinds:
        return None
    *others, last = map(repr, kinds)
    return f"{setting} = {_shown(kind)}: expected {', '.join(others)} or {last}"


def pick(kinds: Mapping[str, T], setting: str, kind: str) -> T:
    """Return what a plain dict calls `kind`, as `setting` does; raises `InputError`, which names the known kinds."""
    if mistake := unknown(kinds, setting, kind):
        raise InputError(f"settings: {mistake}")
    return kinds[kind]
