"""The one option of the test suite: which directory of recorded numbers the parity runner reads."""

from pathlib import Path

import pytest

OWN_CASES = Path(__file__).parent / "parity" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--parity-dir",
        metavar="DIR",
        default=str(OWN_CASES),
        help="directory with manifest.json and <case>.<part>.safetensors (default: tests/parity/data)",
    )
