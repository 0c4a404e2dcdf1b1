"""Prints the best processor time of one of ggml's quantizers in seconds: ggml.py FILE ROWS COLUMNS TYPE.

FILE holds the matrix, f32 row after row; the blocks go to FILE with the ending .out. Without
importance matrix, on one thread. Needs libggml-python (libggml, as built for PyPI) and numpy.
"""

import ctypes
import sys
import time
from pathlib import Path

import libggml
import numpy as np

file, rows, cols, kind = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
library = ctypes.CDLL(str(Path(libggml.__file__).parent / "lib64" / "libggml-base.so"))
# quantize_q4_K and the like: letters but the K are small.
quantize = getattr(library, "quantize_" + kind.lower().replace("_k", "_K"))
quantize.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
quantize.restype = ctypes.c_size_t
weights = np.fromfile(file, "<f4", rows * cols)
out = np.zeros(4 * rows * cols, np.uint8)
best, total, size = float("inf"), 0.0, 0
for count in range(30):
    if count >= 2 and total > 1.0:
        break
    start = time.thread_time()
    size = quantize(weights.ctypes.data, out.ctypes.data, rows, cols, None)
    elapsed = time.thread_time() - start
    best, total = min(best, elapsed), total + elapsed
out[:size].tofile(file.with_suffix(".out"))
print(best)
