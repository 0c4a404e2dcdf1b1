"""Measures of error by numpy and scipy, for tests/errors.rs.

    python tests/reference/errors.py

Reads tests/data/seed_quantization/inputs.safetensors, quantizes with one scale a matrix in float32 (the definition in
tests/data/README.md), measures in float64 with LAPACK's full singular value decomposition, and writes
tests/data/errors.json. Needs numpy, scipy, safetensors.
"""

import json
import pathlib

import numpy
import scipy
import scipy.stats
from safetensors.numpy import load_file

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
INPUTS = ["gauss_64x512", "student_t3_96x768", "minilm_attn_384x384"]
SPACE = 10


def quantized(weights, bits):
    high = numpy.float32(2 ** (bits - 1) - 1)
    scale = numpy.abs(weights).max() / high
    codes = numpy.clip(numpy.round(weights / scale), -high - 1, high)
    return (codes * scale).astype(numpy.float32), float(scale)


def measures(weights, bits):
    result, scale = quantized(weights, bits)
    w, q = weights.astype(numpy.float64), result.astype(numpy.float64)
    error = q - w
    left, values, right = numpy.linalg.svd(w, full_matrices=False)
    left_q, values_q, right_q = numpy.linalg.svd(q, full_matrices=False)
    # Where two singular values are the same, which vectors come first is chance.
    tied = any(v[SPACE - 1] - v[SPACE] <= 1e-8 * v[0] for v in (values, values_q))
    overlap = lambda a, b: None if tied else float((numpy.abs(a @ b) ** 2).sum() / SPACE)
    rows, cols = w.shape
    edge = scale**2 / 12 * (rows**0.5 + cols**0.5) ** 2
    logs = lambda v: 2 * numpy.log10(v[v**2 > v[0] ** 2 * max(rows, cols) * numpy.finfo(float).eps])
    return {
        "max_error": float(numpy.abs(error).max()),
        "cosine": float((w * q).sum() / numpy.linalg.norm(w) / numpy.linalg.norm(q)),
        "distinct_values": int(numpy.unique(result).size),
        "spectral_error": float(numpy.linalg.norm(error, 2) / values[0]),
        "log_wasserstein": float(scipy.stats.wasserstein_distance(logs(values), logs(values_q))),
        "subspace_left": overlap(left[:, :SPACE].T, left_q[:, :SPACE]),
        "subspace_right": overlap(right[:SPACE], right_q[:SPACE].T),
        "noise_edge": float(edge),
        "num_above_noise": int((values**2 > edge).sum()),
    }


def main():
    inputs = load_file(DATA / "seed_quantization" / "inputs.safetensors")
    numbers = {
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "inputs": {
            name: {f"{bits}bit": measures(inputs[name], bits) for bits in (8, 4, 2)} for name in INPUTS
        },
    }
    (DATA / "errors.json").write_text(json.dumps(numbers, indent=1) + "\n")


main()
