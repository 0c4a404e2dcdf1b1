"""What the powerlaw package 1.5 makes of the truncated power law at single values of xmin: the fits that WeightWatcher 0.7.7
compares with one another for fit="TPL". Writes tests/data/weightwatcher/minilm-l6-v2-f32/powerlaw-1.5/truncated.json.

    python truncated.py MODEL.safetensors        needs numpy, powerlaw==1.5, safetensors

For some layers and the tails of so many of their eigenvalues: parameters, distance, and the log-likelihood by the package.
"""

import contextlib
import io
import json
import pathlib
import sys
import warnings

import numpy as np
import powerlaw
from safetensors.numpy import load_file

OUT = pathlib.Path(__file__).resolve().parents[1] / "data/weightwatcher/minilm-l6-v2-f32/powerlaw-1.5/truncated.json"
TAILS = {
    "encoder.layer.0.attention.output.dense": [57, 157, 159],
    "encoder.layer.0.attention.self.key": [174, 178, 184],
    "encoder.layer.0.attention.self.query": [102, 116],
    "encoder.layer.0.attention.self.value": [135],
    "encoder.layer.0.intermediate.dense": [163, 188],
    "encoder.layer.0.output.dense": [229, 274, 302],
}


def main(path):
    assert powerlaw.__version__ == "1.5"
    model = load_file(path)
    result = {}
    for name, lengths in TAILS.items():
        values = np.sort(np.linalg.svd(model[f"{name}.weight"].astype(np.float64), compute_uv=False) ** 2)
        values = values[values > 1e-5]
        rows = result[name] = []
        for length in lengths:
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fit = powerlaw.Fit(values, xmin=values[-length], verbose=False, xmin_distribution="truncated_power_law")
                law = fit.truncated_power_law
                likelihood = float(np.sum(law.loglikelihoods(values[-length:])))
            rows.append({
                "tail_len": length, "xmin": float(values[-length]), "alpha": float(law.alpha), "Lambda": float(law.Lambda),
                "D": float(law.D), "log_likelihood": likelihood,
            })
    OUT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
