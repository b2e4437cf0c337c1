"""Files of tensors, safetensors and what torch pickles: read whole or refused in one line; nothing is executed."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from semivl_cli.errors import InputError, first_line, listed

WRAPPERS = ("module.", "_orig_mod.", "model.", "clip.", "clip_model.", "net.")
"""What DistributedDataParallel, torch.compile, Lightning and training scripts put before every name."""
_PARTS = ("state_dict", "model", "model_state_dict", "module")
"""Where training scripts keep the weights in what they pickle."""
_PLAIN = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
)


class Header(NamedTuple):
    """What a safetensors file says of itself."""

    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]


class TensorFile(NamedTuple):
    """What a file of tensors holds."""

    metadata: dict[str, str]
    tensors: dict[str, Tensor]


@contextmanager
def _in_one_line(path: Path) -> Iterator[None]:
    """Turn whatever the libraries raise over a damaged file into one line; they raise nearly anything."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except Exception as error:
        reason = " ".join(first_line(error).split())[:200]
        raise InputError(f"{path}: no file of tensors, or a damaged one ({reason})") from error


def read_header(path: Path) -> Header:
    """Read metadata and shapes of a safetensors file, without its tensors; raises `InputError` where it is damaged."""
    with _in_one_line(path), safe_open(path, framework="pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - no dict
        return Header(dict(file.metadata() or {}), shapes)


def read_safetensors(path: Path) -> TensorFile:
    """Read a safetensors file; raises `InputError` where it is damaged."""
    with _in_one_line(path), safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
        return TensorFile(dict(file.metadata() or {}), tensors)


def write_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file with the permissions of other files; safetensors gives it to its owner alone.

    Raises:
        OSError: it cannot be written.
        SafetensorError: likewise.
    """
    path.touch()
    mode = path.stat().st_mode
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(plain, path, metadata=dict(metadata) if metadata else None)
    path.chmod(mode)


def read_state(path: Path) -> TensorFile:
    """Read the weights of a model from safetensors or from a pickle (`.bin`, `.pt`, `.pth`) of plain tensors.

    In a pickle they may lie under `state_dict` or the like; names lose what wrappers have put before all of them.

    Raises:
        InputError: it is not there or damaged, holds something else, or objects whose loading would execute code.
    """
    found = read_safetensors(path) if path.suffix == ".safetensors" else TensorFile({}, _weights_in(path))
    for name, tensor in found.tensors.items():
        _check_plain(path, name, tensor)
    return TensorFile(found.metadata, unwrapped(found.tensors))


def unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without the prefixes that all its names share, and without torch.compile's anywhere."""
    state = {name.replace("_orig_mod.", ""): tensor for name, tensor in state.items()}
    while prefix := next((one for one in WRAPPERS if all(name.startswith(one) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _weights_in(path: Path) -> dict[str, Tensor]:
    """Return the one state dict that a pickle holds, itself or under a key."""
    loaded = _unpickle(path)
    if _is_state(loaded):
        return dict(loaded)
    parts = {key: part for key, part in loaded.items() if _is_state(part)} if isinstance(loaded, Mapping) else {}
    usual = [part for key, part in parts.items() if key in _PARTS] or list(parts.values())
    if len(usual) == 1:
        return dict(usual[0])
    what = f"an object of type {type(loaded).__name__}"
    if isinstance(loaded, Mapping):
        others = [" ".join(repr(key).split())[:60] for key, value in loaded.items() if not isinstance(value, Tensor)]
        what = f"a table of {len(loaded)}, and no tensors under {listed(others, 5) or 'names'}"
    raise InputError(f"{path}: expected a state dict of tensors, the file holds {what}")


def _is_state(part: Any) -> bool:  # noqa: ANN401 - whatever a pickle holds
    """Whether this is tensors by name, at least one."""
    named = isinstance(part, Mapping) and all(isinstance(key, str) for key in part)
    return named and len(part) > 0 and all(isinstance(value, Tensor) for value in part.values())


def _unpickle(path: Path) -> Any:  # noqa: ANN401 - whatever a pickle holds
    with _in_one_line(path):
        with path.open("rb") as file:
            begins = file.read(2)
        if not begins:
            raise InputError(f"{path}: the file is empty: fetch or copy it again")
        if begins == b"PK":
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(entry.file_size for entry in archive.infolist())
            if unpacked > 4 * path.stat().st_size + 2**20:  # torch compresses no tensors
                raise InputError(
                    f"{path}: an archive that claims {unpacked} bytes: expected tensors as torch saves them"
                )
        elif begins[0] != pickle.PROTO[0]:
            raise InputError(f"{path}: neither an archive nor a pickle of torch: expected plain tensors")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            named = re.search(r"GLOBAL ([\w.]+)", str(error))
            raise InputError(
                f"{path}: not plain tensors{f' ({named[1]})' if named else ''}: what else a pickle holds can be code, "
                "which is not executed here; expected a state dict alone, as torch.save(model.state_dict(), FILE) "
                "writes it"
            ) from error


def _check_plain(path: Path, name: str, tensor: Tensor) -> None:
    """Refuse tensors that are no arrays of numbers, or that claim more numbers than the file holds."""
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.dtype not in _PLAIN:
        raise InputError(f"{path}: {name} is no plain tensor ({tensor.dtype}, {tensor.layout}, {tensor.device})")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise InputError(f"{path}: {name} claims the shape {tuple(tensor.shape)}, the file does not hold so much")
    if not bool(tensor.isfinite().all()):
        raise InputError(
            f"{path}: {name} holds numbers that are not finite: the file is damaged, or its training failed"
        )
