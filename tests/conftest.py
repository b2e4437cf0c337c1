"""Hermetic by default: no network, no home directory; and where real images and recorded numbers are read from."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")

collect_ignore = ["stranger"]  # a package of its own, which tests/e2e/test_stranger.py installs

OWN_CASES = Path(__file__).parent / "parity" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--parity-dir",
        metavar="DIR",
        default=str(OWN_CASES),
        help="directory with manifest.json and <case>.<part>.safetensors (default: tests/parity/data)",
    )


@pytest.fixture(autouse=True)
def away_from_home(tmp_path_factory, monkeypatch):
    """Give each test a home of its own, so that no cache and no weights of the user are seen or written."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HF_HOME", str(home / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("SEMIVL_CACHE", "SEMIVL_DATA", "SEMIVL_WEIGHTS", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def plain_reports(monkeypatch):
    """Leave the charts out of reports: they take longer than a small training, and tests/report draws them."""
    monkeypatch.setattr("semivl_cli.report.page.curves", lambda _: ())
    monkeypatch.setattr("semivl_cli.report.page.class_bars", lambda _: None)


@pytest.fixture(scope="session")
def loaded_by_m() -> set[str]:
    """Names of the modules that `python -m` itself imports, from where it stands, before any line of a program."""
    told = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import runpy, sys; print(*sys.modules)"], capture_output=True, check=True
    )
    return {name.partition(".")[0] for name in told.stdout.decode().split()}


@pytest.fixture
def stray_modules(tmp_path, loaded_by_m) -> Path:
    """Fill the test's folder with files that are called like modules of Python, of libraries and of plugins.

    Returns a file that is written when one of them is run. Those of `loaded_by_m` are left out: no program has a say.
    """
    libraries = {"numpy", "torch", "cv2", "PIL", "yaml", "pydantic", "rich", "typer", "semivl_plugins", "usercustomize"}
    ran = tmp_path / "RAN"
    for name in (sys.stdlib_module_names | libraries) - {"sys", "builtins"} - loaded_by_m:
        (tmp_path / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write(__file__ + '\\n')\nraise ImportError\n")
    (tmp_path / "html").mkdir()
    return ran


@pytest.fixture
def test_data() -> Path:
    """Folder of real street scenes and VOC masks; tests that need it skip without it."""
    folder = os.environ.get("SEMIVL_TEST_DATA")
    if not folder:
        pytest.skip("needs real images: set SEMIVL_TEST_DATA to a folder with camvid/ and voc_masks/")
    return Path(folder)


@pytest.fixture
def served(tmp_path):
    """A folder and the address under which a server gives its files out."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()
