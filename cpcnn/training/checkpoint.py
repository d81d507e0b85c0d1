"""Checkpoints: one zip of JSON and safetensors, written atomically, read with suspicion.

A checkpoint holds `model.json` (format, architecture, classes, preprocessing), `training.json`
(epoch, history, settings) and `weights.safetensors`. Where training can go on from it there is
also `optimizer.safetensors`, and `unfinished.safetensors` when an epoch was interrupted: sums of
the losses, hits and gradients. There is no pickle in it.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import CheckpointError
from ..layers import to_config

if TYPE_CHECKING:
    from .network import Network

FORMAT = "cpcnn-checkpoint"
VERSION = 1
MODEL, TRAINING = "model.json", "training.json"
WEIGHTS, OPTIMIZER = "weights.safetensors", "optimizer.safetensors"
UNFINISHED = "unfinished.safetensors"
JSON_LIMIT = 64 << 20  # bytes; no honest checkpoint comes near
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # equal checkpoints are equal files


@dataclass
class Checkpoint:
    """What a checkpoint file holds."""

    model_config: dict[str, Any]
    weights: dict[str, NDArray[Any]]
    classes: tuple[str, ...] | None = None
    preprocessing: dict[str, Any] | None = None
    training: dict[str, Any] = field(default_factory=dict)
    optimizer_state: dict[str, NDArray[Any]] = field(default_factory=dict)
    unfinished: dict[str, NDArray[Any]] = field(default_factory=dict)  # what an epoch summed up


def to_checkpoint(
    network: Network, training: dict[str, Any] | None = None, optimizer_state: Any = None
) -> Checkpoint:
    """Collect what a checkpoint stores of a network."""
    weights = network.store.get_weights()
    return Checkpoint(
        model_config=model_config(network),
        weights=weights,
        classes=network.classes,
        preprocessing=network.preprocessing,
        training=training or {},
        optimizer_state=optimizer_state or {},
    )


def model_config(network: Network) -> dict[str, Any]:
    """Return the layers and the input shape of a built network, as a checkpoint stores them."""
    assert network.input_shape is not None
    return {"root": to_config(network.root), "input_shape": list(network.input_shape)}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint so that the file is either the old one or the whole new one.

    CheckpointError names the path when it cannot be written; the old file is then still there.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            _write(file, checkpoint)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        _discard(temporary)
        raise CheckpointError(
            f"the checkpoint {path} cannot be written: {error.strerror or error}.",
            suggestion="Check permissions and free space; the checkpoints before it are kept.",
        ) from None
    except BaseException:
        _discard(temporary)
        raise


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint; CheckpointError names the file and what is wrong with it."""
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint at {path}.") from None
    except IsADirectoryError:
        raise CheckpointError(f"{path} is a folder, not a checkpoint file.") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (zipfile.BadZipFile, EOFError) as error:
        if "CRC" in str(error):
            raise CheckpointError(
                f"{path} is damaged: {error}.",
                suggestion="Its content was changed after it was written: use another copy.",
            ) from None
        raise CheckpointError(
            f"{path} is not a cpcnn checkpoint, or it was cut short.",
            suggestion="A checkpoint is a best.cpcnn or last.cpcnn file of a run.",
        ) from None
    except (NotImplementedError, RuntimeError, ValueError) as error:
        # encrypted or exotic archives, impossible JSON or tensor headers
        raise CheckpointError(f"{path} is damaged: {error}.") from None


def _write(file: Any, checkpoint: Checkpoint) -> None:
    from safetensors.numpy import save

    model = {
        "format": FORMAT,
        "version": VERSION,
        "model": checkpoint.model_config,
        "classes": None if checkpoint.classes is None else list(checkpoint.classes),
        "preprocessing": checkpoint.preprocessing,
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, MODEL, _to_json(model))
        _add(archive, TRAINING, _to_json(checkpoint.training))
        _add(archive, WEIGHTS, save(_contiguous(checkpoint.weights)))
        for name, arrays in (
            (OPTIMIZER, checkpoint.optimizer_state),
            (UNFINISHED, checkpoint.unfinished),
        ):
            if arrays:
                _add(archive, name, save(_contiguous(arrays)))


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), content)


def _to_json(value: Any) -> bytes:
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    # a class may be named after a folder whose name is not valid UTF-8
    return text.encode("utf-8", "surrogatepass")


def _contiguous(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _read(archive: zipfile.ZipFile, path: Path) -> Checkpoint:
    model = _read_json(archive, MODEL, path)
    if model.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a cpcnn checkpoint.")
    version = model.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise CheckpointError(
            f"{path} is of checkpoint version {version}, this cpcnn reads up to {VERSION}.",
            suggestion="Update cpcnn.",
        )
    classes = model.get("classes")
    if classes is not None and not _is_names(classes):
        raise CheckpointError(f"{path} is damaged: its class names are not a list of strings.")
    config, preprocessing = model.get("model"), model.get("preprocessing")
    if not isinstance(config, dict) or not isinstance(preprocessing, (dict, type(None))):
        raise CheckpointError(f"{path} is damaged: it describes no network.")
    return Checkpoint(
        model_config=config,
        weights=_read_arrays(archive, WEIGHTS, path),
        classes=None if classes is None else tuple(classes),
        preprocessing=preprocessing,
        training=_read_json(archive, TRAINING, path),
        optimizer_state=_read_arrays(archive, OPTIMIZER, path, optional=True),
        unfinished=_read_arrays(archive, UNFINISHED, path, optional=True),
    )


def _read_member(archive: zipfile.ZipFile, name: str, path: Path, limit: int) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise CheckpointError(f"{path} is not a cpcnn checkpoint: {name} is missing.") from None
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > limit:
        raise CheckpointError(f"{path} is not a cpcnn checkpoint: {name} is packed or too large.")
    return archive.read(info)


def _read_json(archive: zipfile.ZipFile, name: str, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_read_member(archive, name, path, JSON_LIMIT))
    except RecursionError:
        raise CheckpointError(f"{path} is damaged: {name} is nested too deeply.") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is damaged: {name} is not an object.")
    return value


def _read_arrays(
    archive: zipfile.ZipFile, name: str, path: Path, *, optional: bool = False
) -> dict[str, NDArray[Any]]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if optional and name not in archive.namelist():
        return {}
    # stored members cannot be larger than the file itself, so this needs no limit of its own
    content = _read_member(archive, name, path, path.stat().st_size)
    try:
        arrays: dict[str, NDArray[Any]] = load(content)
    except (SafetensorError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged: {name}: {error}.") from None
    return arrays


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _discard(path: Path) -> None:
    with suppress(OSError):  # what went wrong before is the error to report
        path.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
