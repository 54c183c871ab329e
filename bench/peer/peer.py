"""The measuring process of the benchmarks. One JSON command a line on stdin, one JSON answer a line on stdout, so that another program can
interleave its own measurements with these in one run. Times are wall-clock seconds, on a GPU until it is done.

{"cmd":"setup","case":"fpt-step","composition":"tuned"}  see SETUP below for the other fields and their defaults
{"cmd":"run","steps":3}
{"cmd":"memory"}
{"cmd":"gemm","m":1024,"k":768,"n":3072,"dtype":"float32","repeat":5}
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
    # fpt-step, full-step: one training step of that policy; forward: the loss without gradients and dropout; predict: from numbers in host memory to
    # probabilities in host memory; load: from the file in folder to a model and optimiser ready for a step; products: the ceiling, see Products.
    "case": "fpt-step",
    "composition": "hf",
    "batch": 16, "tokens": 64,
    "input": "vectors",  # or ids, then input_dim is how many there are
    "input_dim": 48, "classes": 10, "last": 1,
    "layers": 12, "width": 768, "heads": 12, "inner": 3072, "positions": 1024,
    "vocab": 50257,  # the token table of the hf composition; tuned has none
    "dropout": 0.1, "threads": 2, "seed": 0, "device": "cpu", "folder": None,
    "dtype": "bfloat16", "passes": ["forward", "input"],  # of products
}
GEMM = {"m": 1024, "k": 768, "n": 3072, "dtype": "float32", "repeat": 5, "threads": None}
CASES = {"fpt-step": "fpt", "full-step": "full", "forward": "fpt", "predict": "fpt", "load": "fpt"}
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
    library.openblas_get_config.restype = library.openblas_get_corename.restype = ctypes.c_char_p
    # The kernels in use, which OPENBLAS_CORETYPE can change.
    return f"{library.openblas_get_config().decode().strip()}, core {library.openblas_get_corename().decode()}"


class Setup:
    """A case, made ready; step() does it once."""

    def __init__(self, case, composition, batch, tokens, input, input_dim, classes, last, layers, width, heads, inner, positions, vocab, dropout, threads,
                 seed, device, folder, dtype, passes):
        if case not in CASES:
            raise ValueError(f"case is {case!r}, not one of {tuple(CASES)}")
        if input not in ("vectors", "ids"):
            raise ValueError(f"input is {input!r}, not vectors or ids")
        self.device = torch.device(device)
        self.step = {"forward": self.forward, "predict": self.predict, "load": self.load}.get(case, self.train)
        config = Config(n_layer=layers, n_embd=width, n_head=heads, n_inner=inner, n_positions=positions, vocab=vocab if composition == "hf" else 0,
                        dropout=dropout)
        self.make = lambda loading: FPT(GPT2(config, composition, loading), input_dim, classes, input == "ids", last, dropout, CASES[case])
        self.folder = folder
        if case == "load":
            return
        self.model = self.make(False).train(self.step == self.train).to(self.device)
        self.optimizer = make_optimizer(self.model) if self.model.training else None
        self.x = torch.randn(batch, tokens, input_dim) if input == "vectors" else torch.randint(input_dim, (batch, tokens))
        self.y = torch.randint(classes, (batch, last))
        self.numbers = self.x.numpy()
        self.x, self.y = self.x.to(self.device), self.y.to(self.device)

    def train(self):
        return train_step(self.model, self.optimizer, self.x, self.y)[0].item()

    def forward(self):
        with torch.no_grad():
            return loss_of(self.model, self.x, self.y).item()

    def predict(self):
        with torch.no_grad():
            return torch.softmax(self.model(torch.tensor(self.numbers, device=self.device)), dim=-1).tolist()[0][0][0]

    def load(self):
        self.model = self.make(True)
        self.model.sequence_model.load(self.folder)
        self.model.train().to(self.device)
        self.optimizer = make_optimizer(self.model)
        return 0

    def describe(self):
        model = getattr(self, "model", None)
        return {"parameters": sum(parameter.numel() for parameter in model.parameters()), "trained": sum(parameter.numel() for parameter in model.trained())} if model else {}


class Products:
    """The matrix products with weights of one step and nothing else: its ceiling. passes: forward, input (the gradient of the products' inputs) and
    weight (that of the weights)."""

    def __init__(self, batch, tokens, layers, width, inner, dtype, passes, device, **_):
        self.device, self.passes = torch.device(device), passes
        rows = batch * tokens
        shapes = [(width, 3 * width), (width, width), (width, inner), (inner, width)]

        def random(*shape):
            return torch.randn(shape).to(self.device, DTYPES[dtype])

        # Every layer has weights of its own, as in the step: they do not stay in the cache.
        self.weights = [random(*shape) for _ in range(layers) for shape in shapes]
        self.values = {size: random(rows, size) for size in {width, 3 * width, inner}}
        self.outputs = {size: torch.empty_like(value) for size, value in self.values.items()}
        self.gradients = {shape: random(*shape) for shape in shapes}
        self.flops = 2 * rows * len(passes) * sum(weight.numel() for weight in self.weights)

    def step(self):
        for weight in self.weights:
            torch.mm(self.values[weight.size(0)], weight, out=self.outputs[weight.size(1)])
        for weight in reversed(self.weights):
            if "input" in self.passes:
                torch.mm(self.values[weight.size(1)], weight.t(), out=self.outputs[weight.size(0)])
            if "weight" in self.passes:
                torch.mm(self.values[weight.size(0)].t(), self.values[weight.size(1)], out=self.gradients[tuple(weight.shape)])
        return 0

    def describe(self):
        return {"flops": self.flops}


def setup(threads, seed, **command):
    set_threads(threads)
    torch.manual_seed(seed)
    made = (Products if command["case"] == "products" else Setup)(threads=threads, seed=seed, **command)
    return made, {
        "ok": True, "torch": torch.__version__, "blas": describe_blas(), "threads": torch.get_num_threads(), **made.describe(),
        # They change the times by far more than the compositions do.
        "environment": {name: value for name, value in os.environ.items() if name.startswith(("OMP_", "GOMP_", "OPENBLAS_", "MKL_", "MALLOC_"))},
    }


def run(setup, steps):
    if setup is None:
        raise ValueError("run before setup")
    if steps < 1:
        raise ValueError("steps must be at least 1")
    synchronize = torch.cuda.synchronize if setup.device.type == "cuda" else lambda: None
    seconds = []
    for _ in range(steps):
        synchronize()
        start = time.perf_counter()
        loss = setup.step()
        synchronize()
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


def fields(command, defaults):
    unknown = set(command) - set(defaults)
    if unknown:
        raise ValueError(f"unknown field {sorted(unknown)}")
    return {**defaults, **command}


def answer(name, command, state):
    if name == "setup":
        state["setup"] = None  # frees the previous model first
        state["setup"], description = setup(**fields(command, SETUP))
        return description
    if name == "run":
        return run(state["setup"], **fields(command, {"steps": 1}))
    if name == "memory":
        return memory(**fields(command, {}))
    if name == "gemm":
        return gemm(**fields(command, GEMM))
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
