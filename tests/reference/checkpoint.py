"""Reading and writing safetensors files, the same bytes every time."""

import hashlib
import json
import struct
from collections.abc import Container
from pathlib import Path

import numpy as np
from safetensors import safe_open

DTYPE_NAMES = {
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "int8": "I8",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint32": "U32",
}


def read(path: Path, wanted: Container[str] | None = None) -> dict[str, np.ndarray]:
    """Tensors by name, in the order of the file's header; all of them, or the `wanted` ones."""
    with open(path, "rb") as file:
        (header_len,) = struct.unpack("<Q", file.read(8))
        order = [name for name in json.loads(file.read(header_len)) if name != "__metadata__"]
    if wanted is not None:
        order = [name for name in order if name in wanted]
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in order}


def write(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Writes the tensors in the order given.

    Not safetensors.numpy.save_file: that one writes the metadata in a random order, so two runs
    give files with different checksums.
    """
    header: dict[str, object] = {"__metadata__": metadata}
    offset = 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype.name],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor).tobytes())
    partial.replace(path)


def to_f16(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every F32 tensor (norms and biases too) rounded to the nearest half, ties to even."""
    return {
        name: tensor.astype(np.float16) if tensor.dtype == np.float32 else tensor
        for name, tensor in tensors.items()
    }


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
