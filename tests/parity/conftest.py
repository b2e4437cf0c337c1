"""One test for each recorded part of each case in `--parity-dir`, and the count of what was compared."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .case import Case, read_manifest
from .compare import Comparison

_COUNT = pytest.StashKey[dict[str, int]]()
_CASES = pytest.StashKey[list[Case]]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`case`: every case. `images`, `step`, `windows`: every (case, part) of that kind. `tables`: the manifest."""
    cases = _cases(metafunc.config)
    for name, kinds in (("images", ("forward", "sizes")), ("step", ("train", "train_b2")), ("windows", ("eval",))):
        if name in metafunc.fixturenames:
            found = [(case, part) for case in cases for part in case.parts if part in kinds]
            metafunc.parametrize(name, found, ids=[f"{case.name}.{part}" for case, part in found])
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", cases, ids=[case.name for case in cases])


def _cases(config: pytest.Config) -> list[Case]:
    if _CASES not in config.stash:
        directory = _directory(config)
        try:
            manifest = read_manifest(directory)
        except (OSError, ValueError) as error:
            raise pytest.UsageError(f"--parity-dir {directory}: no manifest.json that can be read ({error})") from error
        config.stash[_CASES] = [Case(directory, name, case) for name, case in manifest["cases"].items()]
    return config.stash[_CASES]


def _directory(config: pytest.Config) -> Path:
    return config.invocation_params.dir / config.getoption("--parity-dir")


@pytest.fixture
def directory(request: pytest.FixtureRequest) -> Path:
    return _directory(request.config)


@pytest.fixture
def compare(request: pytest.FixtureRequest) -> Iterator[Comparison]:
    comparison = Comparison()
    yield comparison
    count = request.config.stash.setdefault(_COUNT, {"tensors": 0, "scalars": 0})
    count["tensors"] += comparison.tensors
    count["scalars"] += comparison.scalars


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """A test that compared ends with the verdict over all that it compared."""
    result = yield
    if "compare" in pyfuncitem.funcargs:
        pyfuncitem.funcargs["compare"].verdict()
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    count = config.stash.get(_COUNT, None)
    if count is not None:
        terminalreporter.write_line(
            f"parity: {count['tensors']} tensors and {count['scalars']} scalars compared in {_directory(config)}"
        )
