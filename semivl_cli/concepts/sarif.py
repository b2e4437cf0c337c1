"""Writes problems as SARIF 2.1.0, which code hosts show beside the line."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from semivl_cli.concepts.problems import CODES, Problem


def to_sarif(problems: Sequence[Problem]) -> dict[str, Any]:
    """Return the SARIF log as a JSON-ready value."""
    rules = [{"id": code, "shortDescription": {"text": meaning}} for code, meaning in CODES.items()]
    driver = {"name": "semivl", "version": version("semivl"), "rules": rules}
    run = {"tool": {"driver": driver}, "results": [_result(problem) for problem in problems]}
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}


def _result(problem: Problem) -> dict[str, Any]:
    path = Path(problem.file)
    uri = path.as_uri() if path.is_absolute() else quote(path.as_posix())  # the reader resolves it in the checkout
    return {
        "ruleId": problem.code,
        "ruleIndex": list(CODES).index(problem.code),
        "level": problem.severity,
        "message": {"text": f"{problem.message}: {problem.advice}"},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": problem.line}}}],
    }
