#!/usr/bin/env python3
"""Copies what the Rust tests need of the reference numbers into tests/data.

    copy_tables.py REFERENCE

REFERENCE is a folder with `weightwatcher/` and `quant/` as the reference runs left them (its
README.md says with which versions). The numbers are copied unchanged; only their containers change
into ones that the tests can read without Python: CSV, strict JSON (a number that is not finite
becomes the string "nan", "inf" or "-inf") and safetensors.
"""

import argparse
import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np

import checkpoint

DATA = Path(__file__).parent.parent / "data"

# What the naive quantization is tested on; the other inputs of the reference add size, not cases.
SEED_INPUTS = ("edge_28x512", "gauss_16x896", "gauss_64x512", "minilm_attn_384x384", "student_t3_96x768")

# One option of analyze() each. Left out: aliases, those that change nothing, and what has no table.
VARIANTS = (
    "detX", "mp_fit", "randomize", "clip_xmax", "xmax_2", "xmax_-1", "inverse", "start_ids_1", "max_N_20000", "vectors",
    "stacked", "intra_sparsify_False", "xmin_peak_ww",
)
# Made with powerlaw 1.5: with 2.0.0 every layer fails.
POWERLAW_VARIANTS = (
    "xmin_peak_powerlaw", "PL_powerlaw_force", "TPL_powerlaw_layers", "E_TPL_powerlaw_layers",
)
# The other schemes see these besides, and gauss_64x512 rounded to f16 and bf16.
QUANT_INPUTS = ("gauss_200x300", "minilm_ffn_256x384", "minilm_ffnout_64x1536")
QUANT_FAMILIES = ("bitsandbytes", "bitsandbytes_torch_backend", "fp8", "gguf", "hqq", "int", "mlx", "mx_ct")


def copy_weightwatcher(reference: Path, data: Path) -> None:
    for folder, pattern in (
        ("minilm-l6-v2-f16", "*.details.csv"),
        *(("minilm-l6-v2-f32", f"variant.{name}.details.csv") for name in ("default", *VARIANTS)),
        *(("minilm-l6-v2-f32/powerlaw-1.5", f"variant.{name}.details.csv") for name in POWERLAW_VARIANTS),
        ("smollm2-135m-f16", "*.details.csv"),
    ):
        (data / folder).mkdir(parents=True, exist_ok=True)
        for source in sorted((reference / folder).glob(pattern)):
            shutil.copyfile(source, data / folder / source.name)
    summary = json.loads((reference / "minilm-l6-v2-f16" / "quant_summary.json").read_text())
    write_json(data / "minilm-l6-v2-f16" / "quant_summary.json", without_timings(summary))
    for source in sorted((reference / "eigenvalues").glob("*.evals.npz")):
        name = source.name.removesuffix(".evals.npz") + ".safetensors"
        copy_arrays(source, data / "eigenvalues" / name)


def without_timings(summary: dict) -> dict:
    """Less the measurements of the machine that made the tables: they mean nothing here."""
    dropped = ("wall_s", "svd_s", "fit_s", "n_svd", "n_fit", "peak_rss_mb")
    return {
        key: without_timings(value) if isinstance(value, dict) else value
        for key, value in summary.items()
        if key not in dropped
    }


def copy_synthetic(reference: Path, data: Path) -> None:
    cases = json.loads((reference / "results.json").read_text())["cases"]
    inputs = {f"{name}.weight": np.load(reference / f"{name}.npy") for name in cases}
    checkpoint.write(data / "inputs.safetensors", inputs, {"format": "np"})
    rows = []
    with open(data / "outcomes.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["name", "shape", "rows", "exception", "messages"])
        for name, case in cases.items():
            outcome = case["default"]
            details = outcome.get("details", [])
            rows += details
            table.writerow([
                name,
                "x".join(map(str, case["shape"])),
                len(details),
                outcome.get("exception", ""),
                "; ".join(filter(None, outcome["log"] + [outcome["stdout"].strip()])),
            ])
    write_details(data / "default.details.csv", rows)
    for options in ("pool_False", "conv2d_norm_False", "everything"):
        # Every layer has the id 1; slices are told apart by slice_id.
        outcomes = [case.get(options, {}) for case in cases.values()]
        rows = [row for outcome in outcomes for row in outcome.get("details", [])]
        write_details(data / f"{options}.details.csv", rows)


def write_details(path: Path, rows: list[dict]) -> None:
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        for row in rows:
            table.writerow({column: as_cell(value) for column, value in row.items()})


def as_cell(value: object) -> object:
    """As in the other tables: 17 digits, nothing for None."""
    if isinstance(value, float):
        return f"{value:.17g}"
    return "" if value is None else value


def copy_powerlaw(reference: Path, data: Path) -> None:
    data.mkdir(parents=True, exist_ok=True)
    for source in sorted(reference.glob("*.txt")):
        shutil.copyfile(source, data / source.name)


def copy_seed_quantization(reference: Path, data: Path) -> None:
    inputs = checkpoint.read(reference / "inputs" / "inputs.safetensors", SEED_INPUTS)
    checkpoint.write(data / "inputs.safetensors", inputs, {"format": "np"})
    copy_arrays(reference / "deq" / "seed.npz", data / "dequantized_rows.safetensors", SEED_INPUTS)
    copy_arrays(reference / "codes" / "seed.npz", data / "scales.safetensors", SEED_INPUTS)
    shutil.copyfile(reference / "inputs" / "edge_rows.json", data / "edge_rows.json")
    numbers = json.loads((reference / "meta" / "seed.json").read_text())
    for scheme in numbers["schemes"].values():
        scheme["inputs"] = {
            name: {key: value for key, value in case.items() if key != "crc32_rows"}
            for name, case in scheme["inputs"].items()
            if name in SEED_INPUTS
        }
    write_json(data / "numbers.json", numbers)


def copy_quant(reference: Path, data: Path) -> None:
    inputs = checkpoint.read(reference / "inputs" / "inputs.safetensors", QUANT_INPUTS)
    checkpoint.write(data / "inputs.safetensors", inputs, {"format": "np"})
    codes, rows, numbers = {}, {}, {}
    for family in QUANT_FAMILIES:
        meta = json.loads((reference / "meta" / f"{family}.json").read_text())
        numbers[family] = {"tool": meta["tool"], "schemes": {}}
        for scheme, cases in meta["schemes"].items():
            numbers[family]["schemes"][scheme] = {name: quant_case(name, case) for name, case in cases["inputs"].items()}
        with np.load(reference / "deq" / f"{family}.npz") as archive:
            # One row shows what is wrong; the hashes say that something is.
            rows |= {name: archive[name][:1] for name in archive.files if name.endswith("/gauss_64x512")}
        if (reference / "codes" / f"{family}.npz").exists():
            with np.load(reference / "codes" / f"{family}.npz") as archive:
                codes |= {name: archive[name] for name in archive.files if is_wanted_code(name)}
    checkpoint.write(data / "first_rows.safetensors", rows, {"format": "np"})
    checkpoint.write(data / "codes.safetensors", codes, {"format": "np"})
    write_lines(data / "numbers.json", numbers)
    shutil.copyfile(reference / "recipes" / "recipes.json", data / "recipes.json")


def is_wanted_code(name: str) -> bool:
    scheme, _, rest = name.partition("/")
    wanted = ("gauss_64x512", "edge_28x512") if scheme.startswith("gguf") else ("gauss_64x512",)
    return not rest or rest.split("/")[0] in wanted


def quant_case(name: str, case: dict) -> dict:
    """Hashes of single rows where one row may be excused, else of the whole matrix only."""
    wanted = ["bpw", "rel_fro", "sqnr_db", "nonzero", "sha256"] + ["crc32_rows"] * (name == "edge_28x512")
    return {key: case[key] for key in wanted if key in case}


def write_lines(path: Path, numbers: dict) -> None:
    """JSON with a line per case."""
    families = []
    for family, value in numbers.items():
        schemes = []
        for scheme, cases in value["schemes"].items():
            lines = [f"   {json.dumps(name)}: {json.dumps(strict(case))}" for name, case in cases.items()]
            schemes.append(f"  {json.dumps(scheme)}: {{\n" + ",\n".join(lines) + "\n  }")
        tool = json.dumps(value["tool"])
        families.append(f" {json.dumps(family)}: {{\n  \"tool\": {tool},\n  \"schemes\": {{\n" + ",\n".join(schemes) + "\n }}")
    path.write_text("{\n" + ",\n".join(families) + "\n}\n")


def copy_arrays(source: Path, target: Path, wanted: tuple[str, ...] = ()) -> None:
    """From npz to safetensors, of the arrays about the inputs `wanted` only (all when empty)."""
    arrays = {}
    with np.load(source) as archive:
        for name in sorted(archive.files):
            if not wanted or any(part in wanted for part in name.split("/")):
                arrays[name] = archive[name]
    checkpoint.write(target, arrays, {"format": "np"})


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(strict(value), indent=1, allow_nan=False) + "\n")


def strict(value: object) -> object:
    if isinstance(value, dict):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("reference", type=Path)
    reference = parser.parse_args().reference
    for folder in ("weightwatcher/synthetic", "weightwatcher/eigenvalues", "seed_quantization", "quant"):
        (DATA / folder).mkdir(parents=True, exist_ok=True)
    copy_weightwatcher(reference / "weightwatcher", DATA / "weightwatcher")
    copy_synthetic(reference / "weightwatcher" / "synthetic", DATA / "weightwatcher" / "synthetic")
    copy_powerlaw(reference / "powerlaw", DATA / "powerlaw")
    copy_seed_quantization(reference / "quant", DATA / "seed_quantization")
    copy_quant(reference / "quant", DATA / "quant")


if __name__ == "__main__":
    main()
