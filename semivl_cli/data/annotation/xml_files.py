"""Reads XML of strangers: no entities, no document types, nesting bounded."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers import expat

from semivl_cli.errors import InputError
from semivl_cli.limits import DOCUMENT

_DEEPEST = 100


def parse_xml(data: bytes, name: str) -> Element:
    """Return the root of an XML file.

    Raises:
        InputError: it is no XML, declares a document type (which may define entities without end), or is nested deeper
            than any annotation.
    """
    DOCUMENT.check(len(data) / 2**20, name)
    builder, parser, depth = TreeBuilder(), expat.ParserCreate(), 0

    def start(tag: str, attributes: Mapping[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise InputError(f"{name}: nested more than {_DEEPEST} deep: refused")
        builder.start(tag, dict(attributes))

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise InputError(f"{name}: XML with a document type (<!DOCTYPE ...>) is not read: remove it")

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ParseError, ValueError, LookupError, AssertionError) as error:
        raise InputError(f"{name}: not XML: {error}") from error
