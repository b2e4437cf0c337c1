"""Writes problems as SARIF 2.1.0, which code hosts show beside the line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

from semivl_cli.concepts.problems import CODES, Problem


def to_sarif(problems: Sequence[Problem], version: str) -> dict[str, Any]:
    """Return the SARIF log as a JSON-ready value; `version` is that of this program."""
    rules = [{"id": code, "shortDescription": {"text": meaning}} for code, meaning in CODES.items()]
    driver = {"name": "semivl", "version": version, "rules": rules}
    run = {"tool": {"driver": driver}, "results": [_result(problem) for problem in problems]}
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}


def _result(problem: Problem) -> dict[str, Any]:
    place = {"artifactLocation": {"uri": _uri(problem.file)}, "region": {"startLine": problem.line}}
    return {
        "ruleId": problem.code,
        "ruleIndex": list(CODES).index(problem.code),
        "level": problem.severity,
        "message": {"text": f"{problem.message}: {problem.advice}"},
        "locations": [{"physicalLocation": place}],
    }


def _uri(file: str) -> str:
    """Return a relative reference for a relative path, which the reader resolves against the checkout."""
    path = PurePath(file)
    return Path(file).as_uri() if path.is_absolute() else quote(path.as_posix())
