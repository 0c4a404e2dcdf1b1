#!/usr/bin/env python3
"""Six levels of a whole model: heavytail on all cores against WeightWatcher, as a ratio in one run.

    whole_model.py [MODEL] [--program FILE] [--threads N] [--page]

MODEL is a folder with one safetensors file (default: smollm2-135m-f16 as made by tests/setup
models). Needs weightwatcher 0.7.7, safetensors and what they need, in the Python that runs this. WeightWatcher
has to find torch, but analysing a dict of numpy arrays uses nothing of it: where torch can't be
imported (its Linux wheels want gigabytes of CUDA libraries), an empty stand-in takes its place.

WeightWatcher runs on one thread, which is its fastest setting on small machines, and is timed in
analyze() alone: reading and quantizing are left out. heavytail is timed as a user would time it,
reading, quantizing and writing included. Its runs go between WeightWatcher's; the best counts.

With --page the page in dist/ is timed as well, in Chromium, from the click to the last row.
"""

import os

# Before numpy is imported.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import contextlib
import importlib.machinery
import io
import logging
import resource
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

REPO = Path(__file__).parents[2]
LEVELS = {"fp16": None, "8bit": 8, "6bit": 6, "5bit": 5, "4bit": 4, "2bit": 2}


def stand_in_for_torch():
    """What WeightWatcher asks of torch without using it: no CUDA, and types that nothing is of."""
    torch = types.ModuleType("torch")
    torch.__spec__ = importlib.machinery.ModuleSpec("torch", None)
    torch.__version__ = "0 (stand-in)"
    torch.Tensor = type("Tensor", (), {})
    torch.cuda = types.SimpleNamespace(is_available=lambda: False)
    torch.nn = types.ModuleType("torch.nn")
    for name in ("Module", "Linear", "Conv1d", "Conv2d", "Embedding"):
        setattr(torch.nn, name, type(name, (), {}))
    for name in [name for name in sys.modules if name == "torch" or name.startswith("torch.")]:
        del sys.modules[name]
    sys.modules.update({"torch": torch, "torch.nn": torch.nn})


def load_weightwatcher():
    try:
        import torch  # noqa: F401
    except Exception:
        stand_in_for_torch()
    import weightwatcher

    logging.getLogger("weightwatcher").setLevel(logging.CRITICAL)
    return weightwatcher


def quantized(weights, bits):
    """Symmetric, one scale a matrix; embeddings stay as they are."""
    if bits is None:
        return weights
    result = {}
    for name, w in weights.items():
        if "embed" in name:
            result[name] = w
            continue
        scale = np.abs(w).max() / (2 ** (bits - 1) - 1)
        result[name] = (np.round(w / scale) * scale).astype(np.float32)
    return result


def peak_memory(process):
    """MB, or NaN where Linux does not tell. Asked while the process runs: what a parent is told of
    its children afterwards counts its own memory at the fork."""
    peak = float("nan")
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            status = ""
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                peak = int(line.split()[1]) / 1e3
        time.sleep(0.02)
    return peak


def run_program(program, model, threads):
    """(seconds on the clock, processor seconds, peak MB) of all six levels."""
    with tempfile.TemporaryDirectory() as folder:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        process = subprocess.Popen(
            [program, "analyze", model, "--quiet", "--threads", str(threads), "--output-dir", folder,
             "--quantizations", ",".join(LEVELS)],
            stdout=subprocess.DEVNULL,
        )
        memory = peak_memory(process)
        elapsed = time.perf_counter() - start
        if process.returncode:
            sys.exit(f"{program} failed")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return elapsed, spent, memory


def run_page(file):
    """Seconds of all six levels in the page."""
    command = [REPO / "tests" / "benches" / "page", "--model", file, "1"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(output.rsplit(" ", 2)[1])


def main():
    cache = os.environ.get("HEAVYTAIL_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heavytail"
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", type=Path, default=Path(cache) / "models" / "smollm2-135m-f16")
    parser.add_argument("--program", type=Path, default=REPO / "target" / "release" / "heavytail")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--page", action="store_true")
    arguments = parser.parse_args()
    weightwatcher = load_weightwatcher()
    (file,) = arguments.model.glob("*.safetensors")
    weights = {
        name: w.astype(np.float32) for name, w in load_file(file).items() if name.endswith(".weight") and w.ndim >= 2
    }
    ours, page, theirs, spent_by_them = [], [], 0.0, 0.0
    for level, bits in LEVELS.items():
        ours.append(run_program(arguments.program, arguments.model, arguments.threads))
        if arguments.page:
            page.append(run_page(file))
        dictionary = quantized(weights, bits)
        start, spent = time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            details = weightwatcher.WeightWatcher(model=dictionary).analyze()
        elapsed, spent = time.perf_counter() - start, time.process_time() - spent
        theirs += elapsed
        spent_by_them += spent
        print(f"{level}: WeightWatcher {elapsed:.1f} s, mean alpha {details.alpha.mean():.3f} over {len(details)} layers", flush=True)
    wall, spent = min(run[0] for run in ours), min(run[1] for run in ours)
    memory = ours[0][2]
    print(f"\n| {arguments.model.name}, six levels | seconds | processor seconds | peak MB |\n|---|---|---|---|")
    print(f"| WeightWatcher {weightwatcher.__version__}, 1 thread | {theirs:.1f} | {spent_by_them:.1f} | |")
    print(f"| heavytail, {arguments.threads} threads | {wall:.2f} | {spent:.2f} | {memory:.0f} |")
    print(f"| ratio | {theirs / wall:.1f}x | {spent_by_them / spent:.1f}x | |")
    if page:
        print(f"\nThe page: {', '.join(f'{seconds:.1f}' for seconds in sorted(page))} s, "
              f"the best {theirs / min(page):.1f}x, their mean {theirs * len(page) / sum(page):.1f}x")


main()
