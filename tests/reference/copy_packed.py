#!/usr/bin/env python3
"""Copies the quantized checkpoints that the real packers wrote, and what their own unpackers make of them.

    copy_packed.py REFERENCE

REFERENCE holds NAME.safetensors, NAME.expected.safetensors and manifest.json. Writes tests/data/packed: the
checkpoints unchanged and `values.json` with, for each, the shape and the SHA-256 of the dequantized float32 matrix
(little-endian, -0 as +0), the arguments that its config.json would hold, and its relative error against the weight
it was made from, `source.safetensors`. `modelopt_nvfp4` is not among them: it is
made here from the published definition, E2M1 * (E4M3 scale * weight_scale_2).
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

FOLDER = Path(__file__).parent.parent / "data" / "packed"


def described(deq: np.ndarray) -> dict:
    deq = np.ascontiguousarray(deq, dtype="<f4")
    deq[deq == 0] = 0
    return {"shape": list(deq.shape), "sha256": hashlib.sha256(deq.tobytes()).hexdigest()}


def model_opt(rng) -> dict:
    """safetensors for numpy has no F8: the header is written by hand."""
    packed = rng.integers(0, 256, (16, 32), dtype=np.uint8)
    scale = rng.integers(1, 0x7E, (16, 4), dtype=np.uint8)
    whole = np.float32(0.0123)
    parts = {"a.weight": ("U8", packed), "a.weight_scale": ("F8_E4M3", scale), "a.weight_scale_2": ("F32", whole)}
    header, data = {}, b""
    for name, (dtype, values) in parts.items():
        raw = np.asarray(values).tobytes()
        header[name] = {"dtype": dtype, "shape": list(np.shape(values)), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    (FOLDER / "modelopt_nvfp4.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    elements = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=np.float32)
    elements = np.concatenate([elements, -elements])
    codes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(16, 64)
    exponent, mantissa = (scale >> 3).astype(int), (scale & 7).astype(np.float32)
    value = np.where(exponent == 0, mantissa / 512, (1 + mantissa / 8) * 2.0 ** (exponent - 7)).astype(np.float32)
    return described((elements[codes].reshape(16, 4, 16) * (value * whole)[..., None]).reshape(16, 64).astype(np.float32))


def main() -> None:
    reference = Path(sys.argv[1])
    FOLDER.mkdir(parents=True, exist_ok=True)
    values = {}
    for name, facts in json.loads((reference / "manifest.json").read_text())["files"].items():
        shutil.copyfile(reference / f"{name}.safetensors", FOLDER / f"{name}.safetensors")
        with safe_open(reference / f"{name}.expected.safetensors", framework="numpy") as file:
            values[name] = described(file.get_tensor("deq")) | {"arguments": facts.get("args", {})}
        # Against the weight it was made from, by the maker's own program, in float64.
        values[name]["relative_error"] = facts.get("rel_fro")
    with safe_open(reference / "_source_weight_f16.safetensors", framework="numpy") as file:
        weight = {"model.layers.0.self_attn.q_proj.weight": file.get_tensor("weight")}
    save_file(weight, FOLDER / "source.safetensors")
    values["modelopt_nvfp4"] = model_opt(np.random.default_rng(4)) | {"arguments": {}}
    (FOLDER / "values.json").write_text(json.dumps(values, indent=1) + "\n")


main()
