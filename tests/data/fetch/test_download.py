import hashlib
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from semivl_cli.data.fetch import download
from semivl_cli.data.fetch.download import fetch
from semivl_cli.errors import InputError, RunError

CONTENT = bytes((i * 31 + i // 1000) % 256 for i in range(3_000_000))
MD5 = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        world = self.server.world
        asked = self.headers.get("Range")
        world.asked.append(asked)
        if world.status:
            self.send_response(world.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content, start = world.content, 0
        fresh = self.headers.get("If-Range") in (None, world.etag)
        if asked and world.ranges and fresh:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start + world.lie}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if world.etag:
            self.send_header("ETag", world.etag)
        if world.tells_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        rest = content[start:]
        if world.cuts:
            rest = rest[: world.cuts.pop(0)]
        for place in range(0, len(rest), 2**16):
            self.wfile.write(rest[place : place + 2**16])
            time.sleep(world.pause)

    def log_message(self, *words):
        pass


class World:
    """A server that does what a test wants."""

    def __init__(self):
        self.content, self.ranges, self.etag, self.tells_length = CONTENT, True, '"v1"', True
        self.cuts, self.asked, self.status, self.lie, self.pause = [], [], 0, 0, 0.0


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0, 0.0))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False  # so that closing the server waits for them
    server.world = World()
    server.handle_error = lambda request, address: None  # a client that goes away is part of the tests
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.world.url = f"http://127.0.0.1:{server.server_address[1]}/data.zip"
    yield server.world
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "downloads" / "data.zip"


def run(world, target, **checks):
    lines = []
    sha256 = fetch(world.url, target, lines.append, **checks)
    return sha256, lines


def left(target):
    return sorted(path.name for path in target.parent.iterdir())


def test_a_file_arrives_whole_and_alone(world, target):
    sha256, lines = run(world, target, size=len(CONTENT), md5=MD5)
    assert sha256 == SHA256
    assert target.read_bytes() == CONTENT
    assert left(target) == ["data.zip"]
    assert lines == ["fetching data.zip (2.9 MiB)"]


def test_a_broken_connection_is_resumed_where_it_broke(world, target):
    world.cuts = [1_000_000, 500_000]
    assert run(world, target, md5=MD5)[0] == SHA256
    assert world.asked == [None, "bytes=1000000-", "bytes=1500000-"]
    assert left(target) == ["data.zip"]


def test_a_server_that_knows_no_ranges_sends_all_again(world, target):
    world.ranges, world.cuts = False, [1_000_000]
    assert run(world, target)[0] == SHA256
    assert world.asked == [None, "bytes=1000000-"]
    assert target.read_bytes() == CONTENT


def test_a_killed_process_is_gone_on_with_by_the_next(world, target):
    world.pause = 0.05
    code = "import sys, pathlib; from semivl_cli.data.fetch.download import fetch\n"
    code += "fetch(sys.argv[1], pathlib.Path(sys.argv[2]), print)"
    process = subprocess.Popen([sys.executable, "-c", code, world.url, target], stdout=subprocess.DEVNULL)
    part = target.with_name("data.zip.part")
    while not part.exists() or part.stat().st_size < 2**20:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not target.exists()
    have = part.stat().st_size
    world.pause = 0.0
    sha256, lines = run(world, target, size=len(CONTENT), md5=MD5)
    assert sha256 == SHA256
    assert world.asked[-1] == f"bytes={have}-"
    assert "going on after" in lines[0]
    assert left(target) == ["data.zip"]


def begun(target, content, version='"v1"'):
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_name("data.zip.part").write_bytes(content)
    if version:
        target.with_name("data.zip.part.json").write_text(json.dumps({"version": version}))


def test_a_part_of_an_older_version_is_not_gone_on_with(world, target):
    begun(target, b"old" * 1000, '"v0"')
    assert run(world, target)[0] == SHA256


@pytest.mark.parametrize("ranges", [True, False])
def test_a_part_that_is_complete_is_only_checked(world, target, ranges):
    world.ranges = ranges
    begun(target, CONTENT)
    assert run(world, target, md5=MD5)[0] == SHA256


def test_a_part_longer_than_the_file_begins_again(world, target):
    begun(target, CONTENT + b"more")
    assert run(world, target, md5=MD5)[0] == SHA256


@pytest.mark.parametrize("version", ["a\r\nHost: evil", "\ud83d\ude00", 7, ["a"]])
def test_a_version_that_no_server_has_told_is_never_asked_for(world, target, version):
    begun(target, CONTENT[:1000], version)
    assert run(world, target, md5=MD5)[0] == SHA256


def test_a_part_of_unknown_version_is_gone_on_with_and_the_checksum_decides(world, target):
    begun(target, CONTENT[:1000], None)
    assert run(world, target, md5=MD5)[0] == SHA256
    target.unlink()
    begun(target, b"x" * 1000, None)
    with pytest.raises(InputError, match="its MD5 is"):
        run(world, target, md5=MD5)
    assert left(target) == []
    assert run(world, target, md5=MD5)[0] == SHA256


def test_a_wrong_checksum_is_one_line_and_leaves_nothing(world, target):
    with pytest.raises(InputError, match=rf"its MD5 is {MD5} instead of {'0' * 32}\): it is removed") as caught:
        run(world, target, md5="0" * 32)
    assert "\n" not in str(caught.value)
    assert left(target) == []


def test_a_wrong_size_is_told_before_it_is_fetched(world, target):
    with pytest.raises(InputError, match="the server has 3000000 bytes, published are 5: it is another file"):
        run(world, target, size=5)
    assert left(target) == []


def test_a_wrong_size_is_found_where_the_server_tells_none(world, target):
    world.tells_length = False
    with pytest.raises(InputError, match=r"3000000 bytes instead of 5\): it is removed"):
        run(world, target, size=5)
    assert left(target) == []
    assert run(world, target)[0] == SHA256


def test_a_server_that_tells_no_length_and_breaks_off_is_noticed_by_the_size(world, target):
    world.tells_length, world.cuts = False, [1_000_000]
    assert run(world, target, size=len(CONTENT))[0] == SHA256
    assert world.asked == [None, "bytes=1000000-"]


def test_a_connection_that_keeps_breaking_keeps_the_part(world, target):
    world.cuts = [1_000_000] + [0] * 10
    with pytest.raises(RunError, match=r"976\.6 KiB are kept in .*data\.zip\.part: the same command goes on there"):
        run(world, target)
    assert left(target) == ["data.zip.part", "data.zip.part.json"]
    world.cuts = []
    assert run(world, target, md5=MD5)[0] == SHA256


def test_ranges_that_do_not_fit_are_given_up(world, target):
    begun(target, CONTENT[:1000])
    world.lie = 7
    assert run(world, target, md5=MD5)[0] == SHA256  # from the start, without a range


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_server_that_refuses_is_told_with_its_answer(world, target, status):
    world.status = status
    with pytest.raises(RunError, match=rf"data\.zip: .*{status}.*--from FILE"):
        run(world, target)
    assert left(target) == []


def test_no_server_at_all_is_told(world, target):
    with pytest.raises(RunError, match="cannot be fetched"):
        fetch("http://127.0.0.1:9/data.zip", target, print)


def test_a_file_that_is_there_is_checked_and_never_removed(world, target):
    target.parent.mkdir()
    target.write_bytes(CONTENT)
    assert run(world, target, size=len(CONTENT), md5=MD5)[0] == SHA256
    assert world.asked == []
    with pytest.raises(InputError, match=r"data\.zip: is not what was published .*: move it away"):
        run(world, target, md5="0" * 32)
    assert target.read_bytes() == CONTENT


def test_a_full_disk_keeps_the_part(world, target, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 1000}))
    begun(target, CONTENT[:500_000])
    with pytest.raises(RunError, match=r"needs 2\.4 MiB more in .*, where 1000 bytes are free; 488\.3 KiB are kept"):
        run(world, target)
    monkeypatch.undo()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_receive", full)
    with pytest.raises(RunError, match=r"the disk is full; 488\.3 KiB are kept"):
        run(world, target)
    monkeypatch.undo()
    assert run(world, target, md5=MD5)[0] == SHA256


def test_a_folder_that_cannot_be_written_is_told_at_once(world, target, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(download, "_receive", refuse)
    with pytest.raises(InputError, match="cannot be written"):
        run(world, target)
    assert len(world.asked) == 1


def test_long_downloads_say_how_far_they_are_but_seldom(world, target, monkeypatch):
    monkeypatch.setattr("semivl_cli.data.fetch.progress_lines.SECONDS", 0.0)
    _, lines = run(world, target)
    assert re.fullmatch(r"fetching data\.zip: \d\.\d MiB of 2\.9 MiB, \d+:\d\d left", lines[1])
    assert len(lines) < 10
