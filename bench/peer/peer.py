"""The measuring process of the benchmarks. One JSON command a line on stdin, one JSON answer a line on stdout, so that another program can
interleave its own measurements with these in one run. Times are wall-clock seconds.

{"cmd":"setup","case":"fpt-step","composition":"tuned"}  see SETUP below for the other fields and their defaults
{"cmd":"run","steps":3}
{"cmd":"memory"}
{"cmd":"gemm","m":1024,"k":768,"n":3072,"dtype":"float32","repeat":5}
{"cmd":"gemm-step","batch":16,"tokens":64,"width":768,"layers":12,"dtype":"float32","repeat":5}
{"cmd":"quit"}
"""

import ctypes
import json
import os
import statistics
import sys
import time

import torch

from fpt import FPT, loss_of, make_optimizer, train_step
from gpt2 import GPT2, Config

SETUP = {
    "case": "fpt-step",  # fpt-step, full-step: one training step of that policy; forward: no gradients, no dropout
    "composition": "hf",
    "batch": 16, "tokens": 64,
    "input": "vectors",  # or ids, then input_dim is how many there are
    "input_dim": 48, "classes": 10, "last": 1,
    "layers": 12, "width": 768, "heads": 12, "positions": 1024,
    "vocab": 50257,  # the token table of the hf composition; tuned has none
    "dropout": 0.1, "threads": 2, "seed": 0,
}
GEMM = {"m": 1024, "k": 768, "n": 3072, "dtype": "float32", "repeat": 5, "threads": None}
GEMM_STEP = {"batch": 16, "tokens": 64, "width": 768, "layers": 12, "dtype": "float32", "repeat": 5, "threads": None}
CASES = {"fpt-step": "fpt", "full-step": "full", "forward": "fpt"}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def openblas():
    """The OpenBLAS this process has loaded, or None: torch also comes with other libraries."""
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "openblas" in line}
    return ctypes.CDLL(paths.pop()) if paths else None


def set_threads(threads):
    if threads is None:
        return
    torch.set_num_threads(threads)
    if openblas():  # has threads of its own and does not follow torch's
        openblas().openblas_set_num_threads(threads)


def describe_blas():
    library = openblas()
    if library is None:
        return next((part.strip() for part in torch.__config__.show().split(",") if "BLAS_INFO=" in part), "unknown")
    library.openblas_get_config.restype = ctypes.c_char_p
    # Names the kernels in use too, which OPENBLAS_CORETYPE can change.
    return library.openblas_get_config().decode().strip()


class Setup:
    def __init__(self, case, composition, batch, tokens, input, input_dim, classes, last, layers, width, heads, positions, vocab, dropout, threads,
                 seed):
        if case not in CASES:
            raise ValueError(f"case is {case!r}, not one of {tuple(CASES)}")
        if input not in ("vectors", "ids"):
            raise ValueError(f"input is {input!r}, not vectors or ids")
        set_threads(threads)
        torch.manual_seed(seed)
        config = Config(n_layer=layers, n_embd=width, n_head=heads, n_positions=positions, vocab=vocab if composition == "hf" else 0, dropout=dropout)
        self.training = case != "forward"
        self.model = FPT(GPT2(config, composition), input_dim, classes, input == "ids", last, dropout, CASES[case]).train(self.training)
        self.optimizer = make_optimizer(self.model) if self.training else None
        self.x = torch.randn(batch, tokens, input_dim) if input == "vectors" else torch.randint(input_dim, (batch, tokens))
        self.y = torch.randint(classes, (batch, last))

    def step(self):
        if self.training:
            return train_step(self.model, self.optimizer, self.x, self.y)[0]
        with torch.no_grad():
            return loss_of(self.model, self.x, self.y)

    def describe(self):
        return {
            "ok": True, "torch": torch.__version__, "blas": describe_blas(), "threads": torch.get_num_threads(),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "trained": sum(parameter.numel() for parameter in self.model.trained()) if self.training else 0,
            # They change the times by far more than the compositions do: both sides of a comparison must have the same ones.
            "environment": {name: value for name, value in os.environ.items() if name.startswith(("OMP_", "GOMP_", "OPENBLAS_", "MKL_", "MALLOC_"))},
        }


def run(setup, steps):
    if setup is None:
        raise ValueError("run before setup")
    if steps < 1:
        raise ValueError("steps must be at least 1")
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        loss = setup.step().item()
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds, "loss": loss}


def memory():
    with open("/proc/self/status") as status:
        lines = dict(line.split(":", 1) for line in status)
    return {"peak_bytes": int(lines["VmHWM"].split()[0]) * 1024, "current_bytes": int(lines["VmRSS"].split()[0]) * 1024}


def median_rate(operation, flops, repeat):
    operation()  # first use allocates, packs and wakes the threads
    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        operation()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    return {"gflops": flops / median / 1e9, "seconds": median}


def gemm(m, k, n, dtype, repeat, threads):
    set_threads(threads)
    a, b, out = torch.randn(m, k).to(DTYPES[dtype]), torch.randn(k, n).to(DTYPES[dtype]), torch.empty(m, n, dtype=DTYPES[dtype])
    return median_rate(lambda: torch.mm(a, b, out=out), 2 * m * k * n, repeat)


def gemm_step(batch, tokens, width, layers, dtype, repeat, threads):
    """The matrix products with weights of one step, forward and backward by the input, and nothing else: the ceiling of a frozen step."""
    set_threads(threads)
    rows = batch * tokens
    shapes = [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)]
    # Every layer has weights of its own, as in the step: they do not stay in the cache.
    weights = [torch.randn(shape).to(DTYPES[dtype]) for _ in range(layers) for shape in shapes]
    values = {size: torch.randn(rows, size).to(DTYPES[dtype]) for size in (width, 3 * width, 4 * width)}
    out = {size: torch.empty_like(value) for size, value in values.items()}

    def step():
        for weight in weights:
            torch.mm(values[weight.size(0)], weight, out=out[weight.size(1)])
        for weight in reversed(weights):
            torch.mm(values[weight.size(1)], weight.t(), out=out[weight.size(0)])

    return median_rate(step, 2 * 2 * rows * sum(weight.numel() for weight in weights), repeat)


def fields(command, defaults):
    unknown = set(command) - set(defaults)
    if unknown:
        raise ValueError(f"unknown field {sorted(unknown)}")
    return {**defaults, **command}


def answer(name, command, state):
    if name == "setup":
        state["setup"] = None  # frees the previous model first
        state["setup"] = Setup(**fields(command, SETUP))
        return state["setup"].describe()
    if name == "run":
        return run(state["setup"], **fields(command, {"steps": 1}))
    if name == "memory":
        return memory(**fields(command, {}))
    if name == "gemm":
        return gemm(**fields(command, GEMM))
    if name == "gemm-step":
        return gemm_step(**fields(command, GEMM_STEP))
    raise ValueError(f"unknown command {name!r}")


def main():
    # Answers keep the real stdout; whatever a library may print goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    state = {"setup": None}
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            command = json.loads(line)
            name = command.pop("cmd")
            text = json.dumps({"ok": True} if name == "quit" else answer(name, command, state), allow_nan=False)
        except Exception as error:
            name = None
            text = json.dumps({"error": f"{type(error).__name__}: {error}"})
        print(text, file=answers, flush=True)
        if name == "quit":
            break


if __name__ == "__main__":
    main()
