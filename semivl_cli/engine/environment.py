"""Where a run was made: versions, device, threads, data: what must be alike for the same bits."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from semivl_cli import __version__
from semivl_cli.data.choose.index import Index, LabelCounts


def environment(device: torch.device, index: Index, weights: str, counts: LabelCounts | None = None) -> dict[str, Any]:
    """Return plain values for the table `[environment]` of `run.toml`; `weights`: SHA-256 of the CLIP."""
    found: dict[str, Any] = {"semivl": __version__, "python": platform.python_version()}
    packages = ("torch", "torchvision", "numpy", "open_clip_torch", "opencv-python", "pillow")
    found |= {name: _version(name) for name in packages}
    if device.type == "cuda":
        found |= {"device": torch.cuda.get_device_name(device), "cuda": torch.version.cuda or "none"}
    elif device.type == "mps":
        found["device"] = f"{platform.machine()} GPU of macOS {platform.mac_ver()[0]}"
    else:
        found["device"] = f"{platform.machine()} CPU, {torch.backends.cpu.get_cpu_capability()}"
    found["threads"] = torch.get_num_threads()
    found |= {"weights": weights, "split": index.split()["sha256"], "files": _fingerprint(index)}
    if counts is not None:
        found |= {"labels": counts.labeled_sha256, "val_labels": counts.val_sha256}
    return found


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name what is not as it was, such as `torch 2.9.0 (was 2.8.0)`; hashes are not spelled out."""
    hashes = {
        "weights": "the CLIP weights",
        "split": "the images",
        "files": "sizes of labelled or val files",
        "labels": "the masks of labelled images",
        "val_labels": "the masks of validation images",
    }
    changed = [name for name, value in now.items() if name in before and before[name] != value]
    if "split" in changed:  # of other images everything is another
        changed = [name for name in changed if name not in ("files", "labels", "val_labels")]
    return [hashes.get(name, f"{name} {now[name]} (was {before[name]})") for name in changed]


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Let torch take kernels that give the same bits each time, where it has such; on a CPU it always does.

    A kernel that has none warns.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def _fingerprint(index: Index) -> str:
    """Hash ids and file sizes of everything that has a label: enough to notice other files, without reading them."""
    digest = hashlib.sha256()
    for record in (*index.labeled, *index.held_out, *index.val):
        sizes = [source.stat().st_size for source in (record.image, record.label) if isinstance(source, Path)]
        digest.update(f"{record.id} {sizes}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # installed under another name, such as opencv-python-headless
        return "unknown"
