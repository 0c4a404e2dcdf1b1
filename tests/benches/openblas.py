"""Prints the best processor time of a LAPACK routine in seconds: openblas.py ROUTINE ROWS COLUMNS.

ROUTINE is dsyevd (eigenvalues of a Gram matrix) or dgesdd (singular values), both without vectors,
or dsyevd_vectors.
The caller sets OPENBLAS_NUM_THREADS=1: two threads are slower than one at these sizes on small
machines.
"""

import sys
import time

import numpy as np
from scipy.linalg import lapack

routine, rows, cols = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random = np.random.default_rng(0)
if routine.startswith("dsyevd"):
    w = random.standard_normal((rows + rows // 4, cols))
    matrix = np.asfortranarray(w.T @ w)
    run = lambda copy: lapack.dsyevd(copy, compute_v=int(routine != "dsyevd"), lower=1, overwrite_a=1)
else:
    matrix = np.asfortranarray(random.standard_normal((rows, cols)))
    run = lambda copy: lapack.dgesdd(copy, compute_uv=0, full_matrices=0, overwrite_a=1)
best, total = float("inf"), 0.0
for count in range(30):
    if count >= 2 and total > 1.0:
        break
    copy = matrix.copy(order="F")
    start = time.thread_time()
    run(copy)
    elapsed = time.thread_time() - start
    best, total = min(best, elapsed), total + elapsed
print(best)
