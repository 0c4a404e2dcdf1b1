#!/usr/bin/env python3
"""Writes src/quant/ggml/grids.bin: the tables of values that ggml's IQ1, IQ2 and IQ3 types look weights up in.

The tables are part of the format. They come from the package gguf, packed into two bytes a row:
2 bits for each of eight values, 4 bits for each of four, the first value lowest.
`src/quant/ggml/iq.rs` says which table is where.
"""

from pathlib import Path

import numpy as np
from gguf import quants

ORDER = [quants.IQ2_XXS, quants.IQ2_XS, quants.IQ2_S, quants.IQ3_XXS, quants.IQ3_S, quants.IQ1_S]
OUTPUT = Path(__file__).parents[2] / "src" / "quant" / "ggml" / "grids.bin"


def packed(kind) -> bytes:
    kind.init_grid()
    rows = kind.grid.reshape(kind.grid_shape).astype(int)
    bits = 16 // rows.shape[1]
    codes = np.searchsorted(kind.grid_map, rows)
    assert (np.array(kind.grid_map)[codes] == rows).all()
    return (codes << (bits * np.arange(rows.shape[1]))).sum(axis=1).astype("<u2").tobytes()


OUTPUT.write_bytes(b"".join(packed(kind) for kind in ORDER))
print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes")
