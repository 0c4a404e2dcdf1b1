"""What WeightWatcher 0.7.7 says of spectra whose fit is no power law. Writes tests/data/weightwatcher/differences/.
Needs weightwatcher==0.7.7.

Each matrix is analysed alone, as a dictionary of one numpy array.
"""

import contextlib
import io
import json
import pathlib
import sys

import numpy as np
import weightwatcher as ww
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parents[1] / "data/weightwatcher/differences"
COLUMNS = ["num_evals", "alpha", "sigma", "D", "xmin", "xmax", "num_pl_spikes", "alpha_weighted", "status", "warning"]


def diagonal(rows, cols, values):
    matrix = np.zeros((rows, cols), np.float32)
    np.fill_diagonal(matrix[: len(values), : len(values)], values)
    return matrix


def hadamard(order):
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < order:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def inputs():
    rng = np.random.default_rng(5)
    return {
        # All eigenvalues equal, of which there are at least 20, from 8 to 19, and at most 7.
        "equal": diagonal(32, 32, [2.0] * 32),
        "twelve_equal": diagonal(24, 30, [2.0] * 12),
        "five_equal": diagonal(20, 30, [2.0] * 5),
        # Equal but for rounding.
        "nearly_equal": hadamard(64)[rng.permutation(64)] @ np.diag(np.ones(64, np.float32)),
    }


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    tensors = {f"{name}.weight": np.ascontiguousarray(matrix) for name, matrix in inputs().items()}
    save_file(tensors, OUT / "inputs.safetensors")
    result = {}
    for name, matrix in tensors.items():
        with contextlib.redirect_stdout(io.StringIO()):
            watcher = ww.WeightWatcher(model={name: matrix.copy()}, log_level=50)
            details, summary = watcher.analyze(), watcher.get_summary()
        plain = lambda v: v if isinstance(v, str) else (float(v) if np.isfinite(v) else str(float(v)))
        row = {column: plain(details.iloc[0][column]) for column in COLUMNS}
        result[name.removesuffix(".weight")] = {**row, "summary_alpha": plain(summary["alpha"])}
    (OUT / "numbers.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
