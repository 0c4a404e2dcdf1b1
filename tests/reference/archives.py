#!/usr/bin/env python3
"""Writes tests/data/archives: PyTorch state dicts and numpy archives, and what is in them.

torch itself is too large to be set up for this: `state_dict` follows its format by hand (a zip of a protocol-2 pickle
whose storages are persistent ids, data aligned to 64 bytes by an extra field), with Python's own pickle and zipfile. The
numpy files are numpy's own.
`lpips_alex.pth` is a file that torch wrote before 1.6, from the package torchmetrics 1.9.0 (BSD-2-Clause, Richard Zhang
and others), read here with Python's pickle.
"""

import io
import json
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent.parent / "data" / "archives"


def module(name: str, **members) -> None:
    sys.modules[name] = types.ModuleType(name)
    for key, value in members.items():
        value.__module__ = name
        setattr(sys.modules[name], key, value)


def _rebuild_tensor_v2(*arguments):
    raise NotImplementedError


def _rebuild_parameter(*arguments):
    raise NotImplementedError


STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}
module("torch._utils", _rebuild_tensor_v2=_rebuild_tensor_v2, _rebuild_parameter=_rebuild_parameter)
module("torch", **{name: type(name, (), {}) for name in STORAGES.values()})


class Storage:
    def __init__(self, key: str, data: np.ndarray):
        self.key, self.data = key, data


class Tensor:
    """A view of a storage, in values."""

    def __init__(self, storage, offset, shape, strides, is_parameter=False):
        self.arguments = (storage, offset, tuple(shape), tuple(strides), False, OrderedDict())
        self.is_parameter = is_parameter

    def __reduce__(self):
        if self.is_parameter:
            return _rebuild_parameter, (Tensor(*self.arguments[:4]), True, OrderedDict())
        return _rebuild_tensor_v2, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, value):
        if isinstance(value, Storage):
            kind = getattr(sys.modules["torch"], STORAGES[value.data.dtype.name])
            return ("storage", kind, value.key, "cpu", value.data.size)
        return None


def save(path: Path, value, storages) -> None:
    body = io.BytesIO()
    Pickler(body, protocol=2).dump(value)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        def add(name: str, data: bytes) -> None:
            info = zipfile.ZipInfo(f"{path.stem}/{name}")
            begin = archive.fp.tell() + 30 + len(info.filename) + 4
            info.extra = b"FB" + struct.pack("<H", -begin % 64) + b"Z" * (-begin % 64)
            archive.writestr(info, data)

        add("data.pkl", body.getvalue())
        add("byteorder", b"little")
        for storage in storages:
            add(f"data/{storage.key}", storage.data.tobytes())
        add("version", b"3\n")


def deflate(source: Path, target: Path, method: int) -> None:
    """The same archive compressed, as tools that pack files again leave it."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))


class OldUnpickler(pickle.Unpickler):
    def persistent_load(self, key):
        return key

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *arguments: arguments
        return f"{module}.{name}"


def read_old(file) -> dict[str, np.ndarray]:
    """Contiguous float32 tensors of a state dict in the old format."""
    _, _, _, state_dict, keys = (OldUnpickler(file).load() for _ in range(5))
    storages = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        storages[key] = np.frombuffer(file.read(4 * count), dtype="<f4")
    return {
        name: storages[storage[2]][offset:offset + int(np.prod(shape))].reshape(shape)
        for name, (storage, offset, shape, *_) in state_dict.items()
    }


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(11)
    values = {}
    first = Storage("0", rng.normal(size=240).astype(np.float32))
    second = Storage("1", rng.normal(size=120).astype(np.float16))
    steps = Storage("2", np.array([7], dtype=np.int64))
    tensors = OrderedDict({
        "a.weight": Tensor(first, 0, (10, 12), (12, 1), is_parameter=True),
        "b.weight": Tensor(first, 120, (12, 10), (10, 1)),
        # The transpose of a.weight, as a view.
        "a_transposed.weight": Tensor(first, 0, (12, 10), (1, 12)),
        "half.weight": Tensor(second, 20, (10, 10), (10, 1)),
        "steps": Tensor(steps, 0, (), ()),
    })
    for name, tensor in tensors.items():
        storage, offset, shape, strides, *_ = tensor.arguments
        size = storage.data.itemsize
        view = np.lib.stride_tricks.as_strided(storage.data[offset:], shape, [size * s for s in strides])
        values[name] = view.astype(np.float32).ravel().tolist()
    save(FOLDER / "plain.pth", tensors, [first, second, steps])
    training = {"epoch": 3, "state_dict": tensors, "optimizer": {"lr": 0.1, "state": [1, None, True, "x", 2**40]}}
    save(FOLDER / "training.pth", training, [first, second, steps])
    arrays = {
        "dense/kernel": rng.normal(size=(6, 8)).astype(np.float32),
        "dense/fortran": np.asfortranarray(rng.normal(size=(6, 8))),
        "conv.weight": rng.normal(size=(3, 2, 2, 2)).astype(np.float16),
        "bias": rng.integers(-5, 5, 8, dtype=np.int16),
        "note": np.array(["a text"]),
    }
    np.savez(FOLDER / "arrays.npz", **arrays)
    np.save(FOLDER / "array.npy", arrays["dense/fortran"])
    np.savez_compressed(FOLDER / "deflated.npz", **arrays)
    deflate(FOLDER / "training.pth", FOLDER / "deflated.pth", zipfile.ZIP_DEFLATED)
    deflate(FOLDER / "arrays.npz", FOLDER / "x_bzip2.npz", zipfile.ZIP_BZIP2)
    for name, array in arrays.items():
        if name != "note":
            name = name if array.ndim < 2 or name.endswith(".weight") else f"{name}.weight"
            values[f"npz:{name}"] = array.astype(np.float32).ravel().tolist()
    with open(FOLDER / "lpips_alex.pth", "rb") as file:
        values |= {f"old:{name}": array.ravel().tolist() for name, array in read_old(file).items()}
    (FOLDER / "values.json").write_text(json.dumps(values) + "\n")


main()
