#!/usr/bin/env python3
"""Writes tests/data/gguf: a small GGUF file with a tensor of random bytes for every type that the package gguf reads, and
what the package makes of them; and a small model that it quantized.

The blocks are uniformly random bytes, so scales are of all sizes, infinities and NaN among them. `values.json` has for
every tensor the SHA-256 of its float32 values, little-endian, every NaN as 0x7fc00000. gguf 0.19.0.
"""

import hashlib
import json
from pathlib import Path

import gguf
import numpy as np
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as Type

FOLDER = Path(__file__).parent.parent / "data" / "gguf"
ROWS, BLOCKS = 3, 4


def plain(kind, rng):
    if kind == Type.BF16:
        return rng.integers(0, 256, (ROWS, 16), dtype=np.uint8)
    dtype = {Type.F32: np.float32, Type.F16: np.float16, Type.F64: np.float64, Type.I8: np.int8,
             Type.I16: np.int16, Type.I32: np.int32, Type.I64: np.int64}[kind]
    if np.issubdtype(dtype, np.floating):
        return rng.normal(size=(ROWS, 8)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, (ROWS, 8), dtype=dtype)


def small():
    """A model of two layers and an embedding, quantized by the package."""
    rng = np.random.default_rng(21)
    writer = gguf.GGUFWriter(FOLDER / "small.gguf", "llama")
    weights = {"token_embd.weight": (Type.Q4_0, 40, 64), "blk.0.attn_q.weight": (Type.Q8_0, 48, 64),
               "blk.0.ffn_down.weight": (Type.Q4_1, 32, 96)}
    for name, (kind, rows, columns) in weights.items():
        values = rng.standard_t(3, (rows, columns)).astype(np.float32)
        writer.add_tensor(name, quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    small()
    rng = np.random.default_rng(20)
    writer = gguf.GGUFWriter(FOLDER / "blocks.gguf", "llama")
    writer.add_name("random blocks")
    writer.add_custom_alignment(64)
    writer.add_token_list([f"token {i}" for i in range(300)])
    writer.add_token_scores([float(i) for i in range(300)])
    writer.add_chat_template("x" * 2000)
    writer.add_head_count(4)
    writer.add_bool("test.flag", True)
    values = {}
    for kind in Type:
        block, size = GGML_QUANT_SIZES[kind]
        name = f"{kind.name}.weight"
        if block == 1:
            data = plain(kind, rng)
            result = quants.dequantize(data, kind) if kind == Type.BF16 else data.astype(np.float32)
        elif kind in (Type.Q8_1, Type.Q8_K, Type.Q1_0):
            continue  # The package does not read them; the first two are never in files.
        else:
            data = rng.integers(0, 256, (ROWS, BLOCKS * size), dtype=np.uint8)
            with np.errstate(all="ignore"):
                result = quants.dequantize(data, kind)
        result = result.astype("<f4")
        bits = result.view("<u4").copy()
        bits[np.isnan(result)] = 0x7FC00000
        values[name] = hashlib.sha256(bits.tobytes()).hexdigest()
        raw = None if block == 1 and kind != Type.BF16 else kind
        writer.add_tensor(name, data, raw_dtype=raw)
    experts = rng.integers(0, 256, (5, ROWS, 18), dtype=np.uint8)
    writer.add_tensor("blk.0.ffn_up_exps.weight", experts, raw_dtype=Type.Q4_0)
    for i, expert in enumerate(experts):
        bits = quants.dequantize(expert, Type.Q4_0).astype("<f4").view("<u4").copy()
        bits[np.isnan(bits.view("<f4"))] = 0x7FC00000
        values[f"blk.0.ffn_up_exps.{i}.weight"] = hashlib.sha256(bits.tobytes()).hexdigest()
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    (FOLDER / "values.json").write_text(json.dumps(values, indent=1) + "\n")


main()
