"""How work is spread: over processes from a clean server, as many as there are cores, and over threads."""

from __future__ import annotations

import atexit
import functools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TypeVar

_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_threads(work: Callable[[_Job], _Result], jobs: Iterable[_Job]) -> Iterator[tuple[_Job, _Result]]:
    """Yield each job with its result, in order; never more than 1024 of them are held."""
    waiting = iter(jobs)
    with ThreadPoolExecutor() as pool:
        try:
            while some := list(islice(waiting, 1024)):
                yield from zip(some, pool.map(work, some), strict=True)
        except BaseException:  # whoever stops now waits for no other job
            pool.shutdown(cancel_futures=True)
            raise


def import_nothing_from_here() -> None:
    """Let the Python processes that are started from now on find no modules in the working directory.

    A `queue.py` that lies there is the user's, and would be run in the place of Python's own.
    """
    os.environ["PYTHONSAFEPATH"] = "1"  # unknown to Python 3.10


@functools.cache
def clean_context() -> BaseContext:
    """Return how workers are started: from a clean server, since a fork copies locks and threads in any state."""
    atexit.register(_end_workers)
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "semivl_cli.data.load.preload"])
    from multiprocessing import forkserver  # noqa: PLC0415 - Windows has none

    here = Path.cwd()
    os.chdir(here.anchor)  # the server looks for its modules where it starts, in Python 3.10 and out of a program too
    try:
        forkserver.ensure_running()
    finally:
        os.chdir(here)
    return context


def end_with_parent() -> None:
    """End this process, a worker, when its parent is killed: what started it may live on, and would keep it."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def _end_workers() -> None:
    """End, at exit, the workers of an iterator that nobody closed: they ignore the signal that Python sends them."""
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()
