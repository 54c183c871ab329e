"""Checks permafrost itself, through its command line and on any device, against the reference fixtures:
parity.py FIXTURES DEVICE PERMAFROST... (the command and its first arguments). One line a check; exits with 1 on a miss.

It needs no .NET SDK, so that a published program can be checked on a machine that has none.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import torch

import check
from check import FPT_CASES, prepare, report, report_gradients, under, used, worst
from gpt2 import read_safetensors

TYPES = {torch.float32: "F32", torch.int64: "I64"}


def write_safetensors(path, tensors):
    header, at, data = {}, 0, []
    # Largest type first, as the reference writer has it, so that everything is aligned.
    for name, tensor in sorted(tensors.items(), key=lambda pair: -pair[1].element_size()):
        data.append(numpy.ascontiguousarray(tensor.detach().numpy()).tobytes())
        header[name] = {"dtype": TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + len(data[-1])]}
        at += len(data[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data))


def check_forward(folder, case, expected, device, program, scratch):
    write_safetensors(scratch / "in.safetensors", under(expected, "in."))
    gradients = under(expected, "grad.")
    run(program, "forward", "--backbone", folder, "--inputs", scratch / "in.safetensors", "--outputs", scratch / "out.safetensors",
        "--gradients", "all" if gradients else "none", "--device", device)
    actual = read_safetensors(scratch / "out.safetensors")
    rows = expected["in.attention_mask"].bool() if "in.attention_mask" in expected else torch.ones(actual["logits"].shape[:2], dtype=torch.bool)
    for name, reference in under(expected, "out.").items():
        if name == "loss":
            report(f"{folder.name} {case} loss", used(actual[name], reference, 1e-5, 2e-5))
        elif name == "logits" or name.startswith("hidden_states"):  # rows of padded queries are undefined in the reference
            report(f"{folder.name} {case} {name}", used(actual[name][rows], reference[rows], 3e-5, 2e-6))
    if gradients:
        report_gradients(f"{folder.name} {case}", under(actual, "grad."), gradients)


def our_name(name):
    for theirs, ours in (("sequence_model.", ""), ("in_net.0.", "input_layer."), ("in_net.", "input_layer."), ("out_net.0.", "output_layer.")):
        name = name.replace(theirs, ours)
    return name


def check_training(folder, mode, device, program, scratch):
    """The fixture's 20 steps, replayed through files and flags."""
    case, name = folder.name, f"{folder.name} {mode}"
    expected = read_safetensors(folder / "expected.safetensors")
    wanted = under(expected, mode + "/")
    steps = wanted["loss"].numel()
    inputs = [prepare(case, expected[f"batch.{step}/x"]) for step in range(steps)]
    targets = torch.cat([expected[f"batch.{step}/y"] for step in range(steps)])
    write_safetensors(scratch / "data.safetensors", {"inputs": torch.cat(inputs), "targets": targets})
    initial = read_safetensors(folder / "initial.safetensors")
    write_safetensors(scratch / "start.safetensors", {our_name(key): value for key, value in initial.items()})
    last = FPT_CASES[case].get("last", 1)
    run(program, "finetune", "--task", "tensors", "--data", scratch / "data.safetensors", "--backbone", folder, "--init-adapter", scratch / "start.safetensors",
        "--no-shuffle", "--per-device-train-batch-size", inputs[0].size(0), "--max-steps", steps, "--readout", f"last:{last}" if last > 1 else "last",
        "--num-classes", FPT_CASES[case]["output_dim"] * last // (targets.numel() // sum(x.size(0) for x in inputs)), "--logging-steps", 1,
        "--frozen-dtype", "float32", "--dropout", 0, "--max-grad-norm", 1 if mode == "clip" else 0, "--learning-rate", "1e-3",
        "--output-dir", scratch / f"run-{case}-{mode}", "--device", device)
    folder = scratch / f"run-{case}-{mode}"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for key, reference in (("train/loss", wanted["loss"]), ("train/grad_norm", wanted["grad_norm"])):
        values = [line[key] for line in lines if key in line]
        if len(values) != steps:
            raise ValueError(f"{len(values)} values of {key}, {steps} expected")
        report(f"{name} {key} ({steps})", worst(abs(value / other.item() - 1) / 1e-4 for value, other in zip(values, reference)))
    adapter = read_safetensors(folder / "adapter" / "adapter_model.safetensors")
    report(f"{name} final parameters", worst(used(adapter[our_name(key)], value, 0, 2e-5) for key, value in under(wanted, "final.").items()))


def run(program, *arguments):
    result = subprocess.run([*program, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(map(str, arguments))}: exit code {result.returncode}: {result.stderr.strip().splitlines()[-1:]}")


def main():
    fixtures, device, program = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        for folder in (fixtures / "gpt2_a", fixtures / "gpt2_b"):
            expected = read_safetensors(folder / "expected.safetensors")
            for case in json.loads((folder / "expected.json").read_text())["cases"]:
                check_forward(folder, case, under(expected, case + "/"), device, program, scratch)
        for case in FPT_CASES:
            for mode in ("clip", "noclip"):
                check_training(fixtures / case, mode, device, program, scratch)
    print(f"{check.misses} missed on {device}")
    return 1 if check.misses else 0


if __name__ == "__main__":
    sys.exit(main())
