"""Picks what a setting names by its kind (`decoder.kind`, `finetune.encoder`) from a plain dict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from semivl_cli.errors import InputError

T = TypeVar("T")


def pick(kinds: Mapping[str, T], setting: str, kind: str) -> T:
    """Return what is called `kind`; raises `InputError`, which names the known kinds, where nothing is."""
    if kind not in kinds:
        *others, last = map(repr, kinds)
        raise InputError(f"settings: {setting} = {kind!r}: expected {', '.join(others)} or {last}")
    return kinds[kind]
