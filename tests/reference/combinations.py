"""What WeightWatcher 0.7.7 says of matrices made of several tensors: base_model, peft, intra, stacked, distances,
SVDSmoothing, SVDSharpness. Writes tests/data/weightwatcher/combinations/. Needs weightwatcher==0.7.7 and powerlaw==1.5.

The models are dictionaries of numpy arrays, so layer ids count from 1.
"""

import contextlib
import io
import json
import pathlib
import sys

import numpy as np
import weightwatcher as ww
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parents[1] / "data/weightwatcher/combinations"


def heavy(rng, rows, cols, alpha=3.0):
    """A matrix whose squared singular values are a Pareto sample."""
    n = min(rows, cols)
    u, _, v = np.linalg.svd(rng.normal(size=(rows, cols)), full_matrices=False)
    values = np.sort((1 - rng.random(n)) ** (-1 / (alpha - 1)))[::-1]
    return (u * np.sqrt(values) @ v).astype(np.float32)


def inputs():
    rng = np.random.default_rng(4)
    model = {
        "a.weight": heavy(rng, 60, 50),
        "a.bias": rng.normal(size=60).astype(np.float32),
        "b.weight": heavy(rng, 40, 50),
        "c.weight": heavy(rng, 90, 40),
        "conv.weight": rng.normal(size=(12, 10, 3, 3)).astype(np.float32),
        "d.weight": heavy(rng, 24, 31),
    }
    tuned = {name: (w + 0.1 * rng.normal(size=w.shape)).astype(np.float32) for name, w in model.items()}
    lora = {
        "m.0.base_layer.weight": heavy(rng, 64, 48),
        "m.0.lora_A.default.weight": heavy(rng, 10, 48),
        "m.0.lora_B.default.weight": heavy(rng, 64, 10),
        "m.1.base_layer.weight": heavy(rng, 30, 40),
        "m.1.lora_A.default.weight": heavy(rng, 4, 40),
        "m.1.lora_B.default.weight": heavy(rng, 30, 4),
    }
    return model, tuned, lora


def numbers(table):
    rows = []
    for _, row in table.iterrows():
        cells = {}
        for name, value in row.items():
            if isinstance(value, (bool, np.bool_)):
                cells[name] = bool(value)
            elif isinstance(value, (int, np.integer)):
                cells[name] = int(value)
            elif isinstance(value, (float, np.floating)):
                cells[name] = float(value) if np.isfinite(value) else str(value)
            else:
                cells[name] = None if value is None else str(value)
        rows.append(cells)
    return rows


def main():
    model, tuned, lora = inputs()
    OUT.mkdir(parents=True, exist_ok=True)
    for name, tensors in [("model", model), ("tuned", tuned), ("lora", lora)]:
        save_file(tensors, OUT / f"{name}.safetensors")
    # The order of a file's keys: that of their text.
    ordered = lambda tensors: {name: tensors[name].copy() for name in sorted(tensors)}
    result = {}
    with contextlib.redirect_stdout(io.StringIO()):
        def analyze(name, tensors, base_model=None, **options):
            np.random.seed(0)
            # Given to analyze() it would be ignored.
            watcher = ww.WeightWatcher(model=ordered(tensors), base_model=base_model, log_level=50)
            result[name] = numbers(watcher.analyze(**options))
            result[name + "_summary"] = watcher.get_summary()

        analyze("plain", model)
        analyze("intra", {k: v for k, v in model.items() if k != "conv.weight"}, intra=True, sparsify=False)
        analyze("stacked", model, stacked=True)
        analyze("base_model", tuned, base_model=ordered(model))
        fewer = {k: v for k, v in model.items() if k != "b.weight"}
        analyze("base_model_without_b", tuned, base_model=ordered(fewer))
        analyze("peft", lora, peft=True)
        analyze("peft_with_base", lora, peft="with_base")
        watcher = ww.WeightWatcher(model=ordered(model), log_level=50)
        result["distances"] = {}
        for method in ["raw", "euclidean", "cka"]:
            mean_w, mean_b, table = watcher.distances(ordered(model), ordered(tuned), method=method)
            result["distances"][method] = {
                "delta_W": float(mean_w), "delta_b": float(mean_b), "rows": numbers(table.reset_index()),
            }
        result["smoothing"] = {}
        for method, options in [("detX", {}), ("svd", {"percent": 0.5}), ("rmt", {}), ("lambda_min", {}), ("auto", {})]:
            copied = ordered(model)
            method = {"lambda_min": ww.weightwatcher.LAMBDA_MIN}.get(method, method)
            ww.WeightWatcher(model=copied, log_level=50).SVDSmoothing(model=copied, method=method, **options)
            result["smoothing"][method] = {
                name: {
                    "norm": float(np.linalg.norm(w.astype(np.float64))),
                    "change": float(np.linalg.norm(w.astype(np.float64) - model[name])),
                    "rank": int(np.linalg.matrix_rank(w.reshape(w.shape[0], -1) if w.ndim < 3 else w[:, :, 0, 0], tol=1e-4)),
                }
                for name, w in copied.items() if w.ndim > 1
            }
    text = json.dumps(result, indent=1)
    (OUT / "numbers.json").write_text(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
