#!/usr/bin/env python3
"""Writes src/cli/selftest.json: small matrices of whole numbers, by formula, and LAPACK's spectra of them.

    selftest.py        needs numpy and scipy; made with numpy 2.4.6 and scipy 1.17.1 (OpenBLAS)

Element (i, j) is ((p i + q j + r i j + s j^2) mod 251) - 125 with i and j taken modulo the period: a
period below the number of columns makes equal columns and exact zeros.
"""

import json
from pathlib import Path

import numpy as np
from scipy.linalg import lapack

CASES = (
    ("small 9 x 7", 9, 7, (3, 5, 7, 11), 1000),
    ("square 40 x 40", 40, 40, (1, 3, 5, 2), 1000),
    ("equal columns 60 x 48", 60, 48, (2, 7, 3, 1), 13),
    ("tall 200 x 24", 200, 24, (5, 1, 4, 3), 1000),
    ("three tiles 230 x 200", 230, 200, (7, 2, 1, 9), 1000),
    ("triangle first 600 x 120", 600, 120, (4, 9, 6, 5), 1000),
)


def matrix(rows, cols, factors, period):
    i, j = np.ogrid[:rows, :cols]
    i, j = i % period, j % period
    p, q, r, s = factors
    return ((p * i + q * j + r * i * j + s * j * j) % 251 - 125).astype(float)


def main():
    references = []
    for name, rows, cols, factors, period in CASES:
        w = matrix(rows, cols, factors, period)
        eigenvalues, _, info = lapack.dsyevd(w.T @ w, compute_v=0)
        assert info == 0
        _, singular, _, info = lapack.dgesdd(w, compute_uv=0)
        assert info == 0
        references.append(
            {
                "name": name,
                "rows": rows,
                "cols": cols,
                "factors": factors,
                "period": period,
                "eigenvalues": eigenvalues.tolist(),
                "singular_values": sorted(singular.tolist()),
            }
        )
    path = Path(__file__).parents[2] / "src" / "cli" / "selftest.json"
    lines = ",\n".join(json.dumps(reference) for reference in references)
    path.write_text(f"[\n{lines}\n]\n")


main()
